"""Where records come from: files, the journal, standard input, recorded logs."""
