"""The rows of an index before they are one: listed, decoded, embedded, kept in parts."""
