"""Other retrievers on our data and our splits, each a process of its own (see `protocol`)."""
