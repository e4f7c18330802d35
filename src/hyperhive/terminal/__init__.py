"""What an agent's terminal shows, as data: the page and `hive watch` draw the same rows. Imports only the protocol."""
