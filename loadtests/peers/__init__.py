"""Other people's decoders, run beside ours by `loadtests.generation`, each as a process of its own."""
