"""CSV, JSONL, Parquet and Arrow files behind one `Table`."""
