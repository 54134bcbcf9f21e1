"""A real encoder that knows prompts and smaller sizes, and the service on a port for clients that insist."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import uvicorn
from litestar import Litestar

from embeddings.artifact import BUNDLED_ENCODER, load_manifest, write_manifest
from embeddings.encoder import Encoder

LONG = "tomatoes " * 300  # some 600 tokens; the bundled encoder sees 256


def load_prompted_encoder(folder: Path) -> Encoder:
    """The bundled encoder as if it had been trained with prompts, and to be cut to 128 and 64 numbers."""
    manifest = load_manifest(BUNDLED_ENCODER)
    for name in manifest.files:
        (folder / name).symlink_to(BUNDLED_ENCODER / name)
    assert manifest.encoder is not None
    spec = msgspec.structs.replace(
        manifest.encoder,
        prompts={"query": "query: ", "passage": "passage: "},
        matryoshka_dimensions=(128, 64),
    )
    write_manifest(folder, msgspec.structs.replace(manifest, encoder=spec))
    return Encoder.load(folder)


@asynccontextmanager
async def serve(application: Litestar) -> AsyncIterator[str]:
    """Serve on a free port of this machine, in this event loop; the address."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(application, log_config=None, access_log=False))
    task = asyncio.create_task(server.serve(sockets=[listener]))
    await application.state.opening.wait_until_ready()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await task
