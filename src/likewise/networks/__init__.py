"""The networks a model folder can hold, one file each; `registry` finds them."""
