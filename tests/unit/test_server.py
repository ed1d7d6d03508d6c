"""The page and the endpoint of `make serve`, with real requests."""

import contextlib
import http.client
import io
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from unittest.mock import Mock

import numpy as np
import pytest
import requests
from PIL import Image
from safetensors.numpy import load_file
from scipy.special import softmax
from served_answers import keys, keys_of_schema, run_curl
from tiny_experiment import CLASSES, set_temperature

from deepnets import Model, load
from deepnets.reporting import server
from deepnets.utils.errors import UserError

pytestmark = pytest.mark.usefixtures("process_as_it_was")
PNG = {"Content-Type": "image/png"}


@pytest.fixture(scope="module")
def model(finished):
    return load(finished, device="cpu", temperature=1)


@pytest.fixture(scope="module")
def port(model):
    """Serve the tiny experiment in a thread; return the port."""
    with server.listen(0) as listener:
        running = server.create_server(model, "tiny")
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]})
        thread.start()
        yield listener.getsockname()[1]
        running.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def url(port):
    return f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def pictures(data):
    """Return the test images as PNG files."""
    return [as_png(image[..., 0]) for image in np.load(data.parent / "test_images.npy")]


@pytest.fixture(scope="module")
def expected(finished):
    """Probabilities of the test images, as the evaluation computed them."""
    return softmax(load_file(finished / "predictions.safetensors")["test_logits"], axis=1)


def as_png(array):
    file = io.BytesIO()
    Image.fromarray(array).save(file, "png")
    return file.getvalue()


def post(url, content, headers=PNG):
    return requests.post(f"{url}/predict", data=content, headers=headers, timeout=60)


def probabilities(response):
    """Return the probabilities of an answer by class; check its form."""
    assert response.status_code == 200, response.text
    answer = response.json()
    assert set(answer) == {"class", "probability", "top", "warning"}
    assert answer["top"][0] == {"class": answer["class"], "probability": answer["probability"]}
    found = {each["class"]: each["probability"] for each in answer["top"]}
    assert list(found.values()) == sorted(found.values(), reverse=True)
    return [found[name] for name in CLASSES]


def test_a_picture_gets_the_probabilities_of_the_evaluation(url, pictures, expected):
    for picture, row in zip(pictures, expected, strict=True):
        assert probabilities(post(url, picture)) == pytest.approx(row, abs=1e-5)
    unnamed = post(url, pictures[0], {"Content-Type": "application/octet-stream"})
    assert probabilities(unnamed) == pytest.approx(expected[0], abs=1e-5)


def test_ink_on_paper_is_inverted(url, data):
    image = np.load(data.parent / "test_images.npy")[0, ..., 0] >= 90
    expected = probabilities(post(url, as_png(np.where(image, 255, 0).astype(np.uint8))))
    paper = as_png(np.where(image, 50, 200).astype(np.uint8))
    response = requests.post(f"{url}/predict?invert=true", data=paper, headers=PNG, timeout=60)
    assert probabilities(response) == pytest.approx(expected, abs=1e-5)


def test_200_requests_at_once_get_each_its_own_answer(url, pictures, expected):
    numbers = [index % len(pictures) for index in range(200)]
    start = threading.Barrier(len(numbers))

    def ask_with_the_others(number):
        start.wait()
        return probabilities(post(url, pictures[number]))

    with ThreadPoolExecutor(len(numbers)) as clients:
        found = list(clients.map(ask_with_the_others, numbers))
    assert np.abs(np.array(found) - expected[numbers]).max() < 1e-5


def test_few_pictures_are_in_memory_at_once(url, pictures, monkeypatch):
    reading, most, read = 0, 0, server._read

    async def counted(request):
        nonlocal reading, most
        reading += 1
        most = max(most, reading)
        try:
            return await read(request)
        finally:
            reading -= 1

    monkeypatch.setattr(server, "_read", counted)
    with ThreadPoolExecutor(40) as clients:
        codes = [each.status_code for each in clients.map(lambda _: post(url, pictures[0]), range(40))]
    assert set(codes) == {200}
    assert 1 <= most <= server.READ_AT_ONCE


HEAD = b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/png\r\nContent-Length: 100\r\n\r\n"


@pytest.fixture
def stalled(port):
    """Open connections that send no picture: `stalled(count) -> sockets`."""
    opened = []

    def connect(count):
        for _ in range(count):
            connection = socket.create_connection(("127.0.0.1", port), timeout=60)
            opened.append(connection)
            connection.sendall(HEAD)
        return opened

    yield connect
    for connection in opened:
        connection.close()


def test_requests_beyond_the_queue_are_refused_and_the_next_ones_answered(url, pictures, stalled, monkeypatch):
    monkeypatch.setattr(server, "MAX_WAITING", 3)
    monkeypatch.setattr(server, "READ_SECONDS", 60)
    connections = stalled(3)
    until(lambda: post(url, pictures[0]).status_code == 503)
    refused = post(url, pictures[0])
    assert refused.headers["retry-after"] == "5"
    assert refused.json() == {"detail": "3 requests wait already; try again in a moment."}
    for connection in connections:
        connection.close()
    until(lambda: post(url, pictures[0]).status_code == 200)


def until(condition):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_picture_that_does_not_arrive_is_given_up(url, pictures, stalled, monkeypatch):
    monkeypatch.setattr(server, "READ_SECONDS", 0.2)
    connections = stalled(server.READ_AT_ONCE)
    assert post(url, pictures[0]).status_code == 200
    for connection in connections:
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        assert answer.status == 408
        assert b"did not arrive within 0.2 seconds; send it again" in answer.read()


@pytest.mark.parametrize(
    ("content", "kind", "code", "detail"),
    [
        (b"no picture", "image/png", 422, "the picture: not a whole JPEG, PNG"),
        (b"", "image/png", 422, "the picture: is empty; replace or remove it."),
        (b"%PDF-1.7", "image/jpeg", 422, "the picture: is a PDF"),
        (b"a=1", "application/x-www-form-urlencoded", 415, "Content-Type must be that of a picture, such as image/png"),
        (b"text", "text/plain; charset=utf-8", 415, "(got 'text/plain')"),
    ],
)
def test_what_is_no_picture_is_refused_in_a_line(url, content, kind, code, detail):
    refused = post(url, content, {"Content-Type": kind})
    assert refused.status_code == code
    assert detail in refused.json()["detail"]


def test_a_form_is_refused_with_the_command_that_works(url, pictures, tmp_path, monkeypatch):
    (tmp_path / "photo.png").write_bytes(pictures[0])
    monkeypatch.chdir(tmp_path)
    refused = requests.post(f"{url}/predict?invert=false", files={"file": pictures[0]}, timeout=60)
    assert refused.status_code == 415
    assert "(got 'multipart/form-data'): curl " in refused.json()["detail"]
    assert run_curl(refused.json()["detail"].split("curl ")[1])["class"] in CLASSES


def test_an_option_with_a_wrong_value_is_refused_in_a_line_as_the_schema_has_it(url, pictures):
    refused = requests.post(f"{url}/predict?invert=maybe", data=pictures[0], headers=PNG, timeout=60)
    assert refused.status_code == 422
    assert re.fullmatch(r"invert: .* valid boolean.* \(got 'maybe'\)\.", refused.json()["detail"])


def test_a_network_that_gives_no_number_is_a_line(url, pictures, monkeypatch):
    monkeypatch.setattr(Model, "logits", lambda _, images: np.full((len(images), len(CLASSES)), np.nan, np.float32))
    for address in ("predict", "explain"):
        refused = requests.post(f"{url}/{address}", data=pictures[0], headers=PNG, timeout=60)
        assert refused.status_code == 500
        assert refused.json()["detail"].startswith("the picture: the network's answer is not a number (NaN)")


def test_a_dim_picture_of_16_bits_is_predicted_with_a_warning(url, pictures):
    assert post(url, pictures[0]).json()["warning"] == ""
    warning = post(url, as_png(np.full((8, 8), 1023, np.uint16))).json()["warning"]
    assert warning.startswith("the picture: of 16 bits with hardly a value above a quarter of white")


def test_half_a_picture_is_refused(url, pictures):
    refused = post(url, pictures[0][: len(pictures[0]) // 2])
    assert refused.status_code == 422
    assert "not a whole image" in refused.json()["detail"]


@pytest.mark.parametrize("chunks", [1, 50])
def test_a_picture_of_too_many_bytes_is_refused(url, monkeypatch, chunks):
    monkeypatch.setattr(server, "MAX_BYTES", 2**20)
    content = bytes(2**21)
    size = len(content) // chunks
    parts = (content[start : start + size] for start in range(0, len(content), size))
    refused = post(url, content if chunks == 1 else parts)
    assert refused.status_code == 413
    assert refused.json() == {"detail": "the picture has more than 1 MB; make it smaller."}


def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded(url):
    file = io.BytesIO()
    Image.new("1", (11_000, 10_000)).save(file, "png")
    refused = post(url, file.getvalue())
    assert refused.status_code == 422
    assert "are 110 megapixels, more than 100; make it smaller, or take more with max_megapixels 111" in refused.text


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", ""])
def test_a_name_that_leads_here_is_no_name_of_this_server(url, pictures, host):
    assert requests.get(url, headers={"Host": host}, timeout=60).status_code == 400
    assert post(url, pictures[0], PNG | {"Host": host}).status_code == 400


def test_the_page_is_served_to_this_machine_alone(url, port):
    for host in (f"localhost:{port}", f"127.0.0.1:{port}"):
        assert requests.get(url, headers={"Host": host}, timeout=60).status_code == 200
    with server.listen(0) as listener:
        assert listener.getsockname()[0] == "127.0.0.1"


def ask(port, method, path, headers=None):
    """Send a request as it is: the package requests corrects paths."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request(method, path, headers=headers or {})
        answer = connection.getresponse()
        answer.read()
    return answer


def test_pages_of_other_sites_may_not_post(port):
    asked = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
    answer = ask(port, "OPTIONS", "/predict", asked | {"Access-Control-Request-Headers": "content-type"})
    assert answer.status == 405
    assert not [name for name, _ in answer.getheaders() if name.lower().startswith("access-control")]


@pytest.mark.parametrize("path", ["/../../etc/passwd", "//etc/passwd", "/..%2f..%2fpyproject.toml", "/docs", "/redoc"])
def test_no_file_is_served(port, path):
    assert ask(port, "GET", path).status == 404


def test_a_path_in_a_request_is_not_read(url, finished, pictures):
    file = finished / "model.safetensors"
    named = requests.post(f"{url}/predict", params={"file": file}, data=str(file), headers=PNG, timeout=60)
    assert named.status_code == 422
    assert str(file) not in named.text


def test_a_map_is_drawn_of_a_picture(url, pictures):
    drawn = requests.post(f"{url}/explain", data=pictures[0], headers=PNG, timeout=60)
    assert drawn.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(drawn.content)).size == (448, 224)
    refused = requests.post(f"{url}/explain", data=b"no picture", headers=PNG, timeout=60)
    assert (refused.status_code, "not a whole JPEG" in refused.text) == (422, True)


def test_a_network_without_maps_predicts_all_the_same_and_the_page_says_why(model, monkeypatch):
    monkeypatch.setattr(server, "find_last_maps", Mock(side_effect=UserError("a/b: attention follows")))
    app = server.create_app(model, "a/b")
    assert set(app.openapi()["paths"]) == {"/predict"}
    assert "a/b: attention follows" in server.page_of(model, "a/b", "a/b: attention follows")


def test_the_page_fetches_nothing_from_elsewhere_and_no_class_name_is_a_tag(url, model):
    page = requests.get(url, timeout=60).text
    assert "://" not in page
    assert "default-src 'none'" in page
    names = ["<script>alert(1)</script>", *map(str, range(30))]
    page = server.page_of(replace(model, classes=names), "a<b")
    assert "<script>alert" not in page
    assert "a&lt;b" in page
    assert "31 classes" in page
    assert "and 11 more" in page


def test_a_port_in_use_is_a_line_with_what_to_do(port):
    with pytest.raises(UserError, match=rf"port {port}: .* in use; choose another: --port 8001"):
        server.listen(port)


def test_script_serves_with_the_experiments_own_temperature_until_ctrl_c(root, finished, pictures, tmp_path):
    folder = shutil.copytree(finished, tmp_path / "seed0")
    logits = set_temperature(folder, 2.5)
    own = load(folder, device="cpu").temperature
    command = [sys.executable, root / "scripts/serve.py", folder, "--port", "0", "--gpus", "0", "--threads", "1"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr.readline() == f"{folder}: temperature {own:.3g}, fitted on its validation images\n"
            line = process.stderr.readline()
            address = re.fullmatch(
                rf"{re.escape(str(folder))} is served at (http://127\.0\.0\.1:\d+); Ctrl-C ends it\n", line
            )
            assert address, line
            assert probabilities(post(address[1], pictures[0])) == pytest.approx(softmax(logits[0] / own), abs=1e-5)
            process.send_signal(signal.SIGINT)
            assert (process.wait(60), process.stderr.read()) == (0, "")
        finally:
            process.kill()


# -- what docs/how-to/predict.md tells programs ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def page(root):
    """Return the text of the page on predicting."""
    return (root / "docs/how-to/predict.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def schema(url):
    return requests.get(f"{url}/openapi.json", timeout=60).json()


def test_command_of_the_page_gets_an_answer_as_the_page_shows_it_and_as_the_schema_has_it(
    url, page, schema, pictures, tmp_path, monkeypatch
):
    (tmp_path / "photo.png").write_bytes(pictures[0])
    monkeypatch.chdir(tmp_path)
    [command] = re.findall(r"^curl (.*)$", page, re.MULTILINE)
    answer = run_curl(command.replace("http://127.0.0.1:8000", url))
    [shown] = re.findall(r"^```json\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    content = schema["paths"]["/predict"]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
    for each in (answer, json.loads(shown)):
        assert keys(each) == keys_of_schema(schema, content)
        assert each["top"][0] == {"class": each["class"], "probability": each["probability"]}


def test_refusals_and_addresses_of_the_page_are_those_of_the_schema(page, schema):
    section = page.split("## On a page")[1].split("\n## ")[0]
    for address in ("/predict", "/explain"):
        endpoint = schema["paths"][address]["post"]
        assert f"`{address}" in section
        assert set(endpoint["requestBody"]["content"]) == {"image/*", "application/octet-stream"}
        assert set(endpoint["responses"]) == {"200", *re.findall(r"^\| (\d{3}) \|", section, re.MULTILINE)}
        assert [each["name"] for each in endpoint["parameters"]] == ["invert"]
    assert "`/predict?invert=true`" in section
    assert set(schema["paths"]) == {"/predict", "/explain"}
