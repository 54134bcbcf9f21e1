from tests.app.http.conftest import admin, application, client, garden, keys, models, post, reader

__all__ = ["admin", "application", "client", "garden", "keys", "models", "post", "reader"]
