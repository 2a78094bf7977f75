"""Row shapes, one module per family of writers (the sections of what the product's writers store)."""
