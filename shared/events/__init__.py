"""The event files: what users were shown and clicked. Inference writes them, training and `skim` read them."""
