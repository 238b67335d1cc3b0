"""Who may see the page, and who may control: login links, sessions, the checks of a request."""
