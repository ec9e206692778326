"""The methods, one file each; `likewise.catalog` finds them."""
