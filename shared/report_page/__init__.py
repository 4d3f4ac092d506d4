"""An evaluation and its knowledge gaps as tables and plots: `skim report` writes them, the dashboard shows them."""
