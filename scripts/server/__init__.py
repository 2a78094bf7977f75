"""The admin server: the site's pages live, the buttons that start runs, and the product's two endpoints."""
