"""Networks and data of the demonstration and the tests; real recordings, no downloads."""
