"""The pages: thin controllers, templates and translations. They call the services, never the HTTP API."""
