"""A trained network on a page of this machine: people drop a picture there, and programs post one.

Pictures are decoded in memory and forgotten. Nothing in a request is used as a path. The memory in use is bounded: few
pictures are read at a time, the next ones wait unread, and further ones are refused.
"""

import asyncio
import contextlib
import io
import socket
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import uvicorn
from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.trustedhost import TrustedHostMiddleware
from fastapi.responses import HTMLResponse, JSONResponse, Response
from pydantic import BaseModel, Field
from torch import nn

from deepnets.data.pictures import Pixels, Prepared, dim_line, prepare_picture
from deepnets.evaluation.predictor import Model
from deepnets.evaluation.saliency import find_last_maps, saliency_maps
from deepnets.figures.overlay import overlay
from deepnets.reporting.page import fill_page
from deepnets.utils import paths
from deepnets.utils.errors import UserError
from deepnets.utils.logging import LOG

LOOPBACK = "127.0.0.1"
MAX_BYTES = 20 * 2**20  # of a picture; a camera's have half as many
READ_AT_ONCE = 4  # pictures in memory
MAX_WAITING = 256  # requests, those that are being answered among them
READ_SECONDS = 30.0  # for the bytes of a picture: a connection that stalls must not hold up the others
_NAMED_CLASSES = 20
_ANY_FILE = "application/octet-stream"
_THE_PICTURE = "the picture"  # its name in messages
_BINARY = {"schema": {"type": "string", "format": "binary"}}


class ClassProbability(BaseModel):
    """A class and its probability."""

    name: str = Field(serialization_alias="class")
    probability: float


class Answer(ClassProbability):
    """The most probable class of a picture, all classes, the most probable first, and what to know of the picture."""

    top: list[ClassProbability]
    warning: str


class Problem(BaseModel):
    """What is wrong with a request, and what to do."""

    detail: str


_PROBLEMS = {
    408: "the picture did not arrive in time",
    413: "the picture has too many bytes",
    415: "the content is not declared as a picture",
    422: "the content is no picture that can be read, or an option has a wrong value",
    500: "the network's answer is not a number",
    503: "too many requests wait",
}


def serve(model: Model, name: str, port: int) -> None:
    """Serve a network on the loopback interface until Ctrl-C.

    Args:
        model: the network.
        name: what the page calls it.
        port: 0 takes a free one.

    Raises:
        UserError: the port cannot be used.
    """
    with listen(port) as listener:
        LOG.info("%s is served at http://%s:%d; Ctrl-C ends it", name, LOOPBACK, listener.getsockname()[1])
        with contextlib.suppress(KeyboardInterrupt):  # the usual end
            create_server(model, name).run(sockets=[listener])


def listen(port: int) -> socket.socket:
    """Return a socket that listens on the loopback interface, so that no other machine reaches it.

    Raises:
        UserError: the port is in use or reserved.
    """
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port that was in use a moment ago is free
    try:
        listener.bind((LOOPBACK, port))
    except OSError as error:
        listener.close()
        hint = "choose another: --port 8001, or make serve PORT=8001"
        raise UserError(f"port {port}: {error.strerror}; {hint}.") from None
    listener.listen()  # from now on, connections wait for the server to start
    return listener


def create_server(model: Model, name: str) -> uvicorn.Server:
    """Return the server of a network; arguments as of `serve`."""
    return uvicorn.Server(
        uvicorn.Config(
            create_app(model, name),
            http="h11",  # whichever other packages are installed
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="error",
            access_log=False,
            proxy_headers=False,
            timeout_graceful_shutdown=5,
        )
    )


def create_app(model: Model, name: str) -> FastAPI:
    """Return the page at /, and POST /predict and /explain, whose schema is at /openapi.json.

    There is no /explain where the network has no maps to show; then the page says why.
    """
    # The pages of FastAPI about a schema fetch scripts from the internet.
    app = FastAPI(title=name, version=model.spec_sha256[:16], docs_url=None, redoc_url=None)
    app.add_exception_handler(RequestValidationError, _refuse_option)
    # A page of another site must not reach this server by a name that leads here (DNS rebinding).
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=[LOOPBACK, "localhost"], www_redirect=False)
    layer, no_map = _last_maps(model, name)
    page, turns = page_of(model, name, no_map), _Turns()
    worker = ThreadPoolExecutor(1)  # torch uses all cores by itself, and Pillow's limits are those of its process
    problems: dict[int | str, Any] = {code: {"model": Problem, "description": text} for code, text in _PROBLEMS.items()}
    body = {"requestBody": {"required": True, "content": {"image/*": _BINARY, _ANY_FILE: _BINARY}}}

    async def use_picture(request: Request, invert: bool, use: Callable[[Prepared], Any]) -> Any:
        _check_head(request)
        async with turns.take():
            picture = await _read(request)
            work = asyncio.get_running_loop().run_in_executor(worker, lambda: use(_decode(model, picture, invert)))
            try:
                return await work
            except UserError as error:
                raise HTTPException(500, str(error)) from None

    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    async def show_page() -> str:
        return page

    @app.post("/predict", responses=problems, openapi_extra=body)
    async def predict(request: Request, invert: bool = False) -> Answer:
        """Predict the picture that is the body of the request, if asked for with dark and bright exchanged."""
        return await use_picture(request, invert, lambda picture: _answer(model, picture))

    if layer is not None:
        drawing = {
            "content": {"image/png": _BINARY},
            "description": "the picture, and next to it its map",
        }

        @app.post("/explain", response_class=Response, responses={200: drawing, **problems}, openapi_extra=body)
        async def explain(request: Request, invert: bool = False) -> Response:
            """Draw where the network found the class of the picture that is the body of the request (Grad-CAM)."""
            drawn = await use_picture(request, invert, lambda picture: _draw_map(model, layer, picture.pixels))
            return Response(drawn, media_type="image/png")

    return app


async def _refuse_option(_request: Request, error: Exception) -> Response:
    """Say in a line what FastAPI says in a list, as the schema has it."""
    assert isinstance(error, RequestValidationError)
    wrong = error.errors()[0]
    return JSONResponse({"detail": f"{wrong['loc'][-1]}: {wrong['msg']} (got {wrong['input']!r:.60})."}, 422)


def page_of(model: Model, name: str, no_map: str = "") -> str:
    """Return the page on which a picture is dropped; it needs no other file.

    Args:
        model: the network.
        name: what the page calls it.
        no_map: why it cannot show where the network looked; empty if it can.
    """
    return fill_page(
        paths.SERVE_TEMPLATES,
        title=name,
        classes=model.classes[:_NAMED_CLASSES],
        more_classes=max(0, len(model.classes) - _NAMED_CLASSES),
        max_bytes=MAX_BYTES,
        no_map=no_map,
    )


def _last_maps(model: Model, name: str) -> tuple[nn.Module | None, str]:
    try:
        return find_last_maps(model, name)[1], ""
    except UserError as error:
        return None, str(error)


def _decode(model: Model, picture: bytes, invert: bool) -> Prepared:
    try:
        return prepare_picture(picture, model.form, invert)
    except ValueError as error:
        raise HTTPException(422, f"{_THE_PICTURE}: {error}.") from None


def _answer(model: Model, picture: Prepared) -> Answer:
    (prediction,) = model.of_pixels([picture.pixels], [_THE_PICTURE])
    top = [ClassProbability(name=each, probability=value) for each, value in prediction.top(len(model.classes))]
    warning = dim_line([_THE_PICTURE]) if picture.is_dim else ""
    return Answer(name=top[0].name, probability=top[0].probability, top=top, warning=warning)


def _draw_map(model: Model, layer: nn.Module, pixels: Pixels) -> bytes:
    (prediction,) = model.of_pixels([pixels], [_THE_PICTURE])
    (saliency,) = saliency_maps(model, layer, [pixels], [int(prediction.probabilities.argmax())])
    file = io.BytesIO()
    overlay(pixels, saliency).save(file, "png")
    return file.getvalue()


class _Turns:
    """Let few requests at a time read their picture, and a limited number wait for it; their bytes stay unread."""

    def __init__(self) -> None:
        self.waiting, self.reading = 0, asyncio.Semaphore(READ_AT_ONCE)

    @contextlib.asynccontextmanager
    async def take(self) -> AsyncIterator[None]:
        """Wait for a turn.

        Raises:
            HTTPException: too many wait already (503).
        """
        if self.waiting >= MAX_WAITING:
            raise HTTPException(
                503, f"{MAX_WAITING} requests wait already; try again in a moment.", {"Retry-After": "5"}
            )
        self.waiting += 1
        try:
            async with self.reading:
                yield
        finally:
            self.waiting -= 1


def _check_head(request: Request) -> None:
    """Refuse what its head shows to be no picture, or too large, before its bytes are read.

    A browser asks before a page of another site may post these types, and this server permits it to none.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != _ANY_FILE and not kind.startswith("image/"):
        raise HTTPException(
            415,
            f"Content-Type must be that of a picture, such as image/png, or {_ANY_FILE} (got {kind[:60]!r}): curl"
            f" --data-binary @photo.png --header 'Content-Type: image/png' {request.url.replace(query='')}",
        )
    length = request.headers.get("content-length", "0")
    if length.isdecimal() and int(length) > MAX_BYTES:
        raise _too_large()


async def _read(request: Request) -> bytes:
    """Read the body of a request, as far as it may be long."""
    content, more = bytearray(), True
    try:
        async with asyncio.timeout(READ_SECONDS):
            while more:
                message = await request.receive()
                content += message.get("body", b"")
                if len(content) > MAX_BYTES:
                    raise _too_large()
                more = message.get("more_body", False)  # a client that is gone has no more
    except TimeoutError:
        raise HTTPException(
            408, f"the picture did not arrive within {READ_SECONDS:g} seconds; send it again."
        ) from None
    return bytes(content)


def _too_large() -> HTTPException:
    return HTTPException(413, f"the picture has more than {MAX_BYTES // 2**20} MB; make it smaller.")
