"""Where a model looks: maps over an image for matches, cosines, captions and statements."""
