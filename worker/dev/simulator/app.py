"""Builds the aiohttp application: the paths of the API and, if wanted, the `/_sim` control calls."""

import asyncio
from collections.abc import AsyncIterator

from aiohttp import web

from worker.dev.simulator import api, control, files, webhooks
from worker.dev.simulator.machine import Machine
from worker.dev.simulator.options import Options

_BODY_B = 128 * 1024 * 1024


def build_app(options: Options) -> web.Application:
    """Return the simulator as an application; its state lives as long as the application runs."""
    app = web.Application(client_max_size=_BODY_B)
    interactions = "/{version:v1|v1beta}/interactions"
    app.router.add_get(interactions + "/{id}", api.endpoint("get", api.get), allow_head=False)
    app.router.add_post(interactions, api.endpoint("create", api.create))
    app.router.add_post(interactions + "/{id}/cancel", api.endpoint("cancel", api.cancel))
    app.router.add_delete(interactions + "/{id}", api.endpoint("delete", api.delete))
    app.router.add_get("/.well-known/jwks.json", api.keys)
    webhooks.add_routes(app)
    app[files.SHELF] = files.Shelf()
    app.router.add_post("/upload/{version:v1|v1beta}/files", api.endpoint("upload", files.upload))
    app.router.add_get("/{version:v1|v1beta}/files", api.endpoint("files", files.listed))
    app.router.add_get("/{version:v1|v1beta}/files/{name}:download", api.endpoint("files", files.download))
    app.router.add_get("/{version:v1|v1beta}/files/{name}", api.endpoint("files", files.get))
    app.router.add_delete("/{version:v1|v1beta}/files/{name}", api.endpoint("files", files.delete))
    if options.control:
        control.add_routes(app)
    app.router.add_route("*", "/{path:.*}", api.unknown)

    async def machine(app: web.Application) -> AsyncIterator[None]:
        app[api.MACHINE] = Machine(options)
        courier = asyncio.create_task(app[api.MACHINE].courier.run())
        yield
        courier.cancel()
        await asyncio.gather(courier, return_exceptions=True)
        app[api.MACHINE].announce()
        app[api.MACHINE].store.close()

    app.cleanup_ctx.append(machine)
    return app
