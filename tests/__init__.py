"""The tests, a package so that they can share ``tests.servers``; its folders are those of the package under test."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
