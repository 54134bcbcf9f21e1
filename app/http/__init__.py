"""What the outside sees over HTTP: controllers, schemas, problem details, access rules, the page."""
