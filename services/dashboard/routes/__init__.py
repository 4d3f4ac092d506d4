"""The pages: one module a page and what can be done on it."""
