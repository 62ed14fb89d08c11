"""Objects in an S3 bucket."""

from duckvstore.objects.s3.options import S3Options
from duckvstore.objects.s3.store import S3Objects

__all__ = ["S3Objects", "S3Options"]
