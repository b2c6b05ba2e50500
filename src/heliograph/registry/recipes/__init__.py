"""Recipes: one file per built-in model whose published file cannot be served as it is."""
