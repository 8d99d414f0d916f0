"""`/docs` and `/redoc`: the OpenAPI document for people, from this server alone.

Swagger UI and ReDoc come out of an installed package, so that the pages work where there is no internet.
Their Content-Security-Policy lets them load, and send to, nothing but this server.

Reference: https://www.w3.org/TR/CSP3/
"""

from __future__ import annotations

from importlib import resources

from fastapi import APIRouter
from fastapi.responses import FileResponse, HTMLResponse, Response

from asgard.api.access import OPEN, needs
from asgard.api.problems import Problem
from asgard.core.errors import ConfigError

router = APIRouter(include_in_schema=False)
PACKAGE = "fastapi_offline"
"""What carries the files of both viewers."""
FILES = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "redoc.standalone.js": "text/javascript",
    "favicon.png": "image/png",
}
DAY_SECONDS = 86400
# Both viewers write styles into the page; ReDoc's search is a worker that it makes out of text of its own.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:;"
    " font-src 'self'; connect-src 'self'; worker-src blob:; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'"
)
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Asgard: {title}</title>
<link rel="icon" href="docs/files/favicon.png">
{head}
<style>body {{ margin: 0; background: #fff; }}</style>
</head>
<body>
{body}
</body>
</html>
"""
SWAGGER = PAGE.format(
    title="the API, to try",
    head='<link rel="stylesheet" href="docs/files/swagger-ui.css">',
    body='<div id="swagger-ui"></div>\n<script src="docs/files/swagger-ui-bundle.js"></script>\n'
    '<script src="docs/files/start.js"></script>',
)
REDOC = PAGE.format(
    title="the API, to read",
    head="",
    body='<redoc spec-url="openapi.json" theme=\'{"rightPanel": {"backgroundColor": "#f4f5f7",'
    ' "textColor": "#263238"}}\'></redoc>\n'
    '<script src="docs/files/redoc.standalone.js"></script>',
)
START = """SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  presets: [SwaggerUIBundle.presets.apis],
});
"""


@router.get("/docs", openapi_extra=needs(OPEN))
def swagger() -> Response:
    """The API, to try."""
    return _page(SWAGGER)


@router.get("/redoc", openapi_extra=needs(OPEN))
def redoc() -> Response:
    """The API, to read."""
    return _page(REDOC)


@router.get("/docs/files/start.js", openapi_extra=needs(OPEN))
def start() -> Response:
    """What starts Swagger UI: a file, because no script within a page is let run."""
    return Response(START, media_type="text/javascript", headers=_kept())


@router.get("/docs/files/{name}", openapi_extra=needs(OPEN))
def file(name: str) -> Response:
    """A file of the viewers."""
    if name not in FILES:
        raise Problem(404, ConfigError(f"there is no file {name!r}", hint="/docs lists what there is"))
    with resources.as_file(resources.files(PACKAGE) / "static" / name) as path:
        return FileResponse(path, media_type=FILES[name], headers=_kept())


def _page(text: str) -> Response:
    return HTMLResponse(text, headers={"Content-Security-Policy": POLICY, "Referrer-Policy": "no-referrer"})


def _kept() -> dict[str, str]:
    return {"Cache-Control": f"max-age={DAY_SECONDS}", "X-Content-Type-Options": "nosniff"}
