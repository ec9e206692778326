"""Sources: a folder, a table, shards, sentences, generated scenes; one file each."""
