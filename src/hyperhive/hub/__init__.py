"""The domain: agents, their lives and their mail. Knows no sockets and no HTTP; never imports api, web or daemon."""
