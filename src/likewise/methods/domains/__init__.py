"""Methods that carry what is learned in a source domain to a target domain without labels."""
