"""Where keys come from. A key is read when a route is made and never printed."""
