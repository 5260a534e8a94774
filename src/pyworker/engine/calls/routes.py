"""Every call of an engine, by path."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from pyworker.engine.calls import clients, dashboard, management, observing, workers

__all__ = ["ROUTES"]

ROUTES: Final = (
    web.post("/route/", clients.route),
    web.post("/routes/", clients.routes),
    web.post("/worker_status/", workers.worker_status),
    web.post("/delete_requests/", workers.delete_requests),
    web.get("/pubkey/", workers.pubkey),
    web.get("/static/jvastai_root.cer", workers.root_certificate),
    web.post("/api/v0/sign_cert/", workers.sign_certificate),
    *management.ROUTES,
    *observing.ROUTES,
    *dashboard.ROUTES,
)
