"""What names in a statement mean: symbols, versions, dataframes, differences."""
