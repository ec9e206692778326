"""Methods, one file each, by what is learned from; `likewise.methods.catalog` finds them."""
