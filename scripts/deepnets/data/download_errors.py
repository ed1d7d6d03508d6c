"""Explain why a download failed: the cause within the exceptions of requests, and the setting that helps."""

import os
import socket
import ssl
from collections.abc import Iterator
from typing import NamedTuple, TypeVar
from urllib.parse import urlsplit

import requests
import urllib3
from requests.utils import get_environ_proxies, select_proxy

from deepnets.utils.text import one_line

_Kind = TypeVar("_Kind", bound=BaseException)

_PROXY_FORM = "HTTPS_PROXY=http://<user>:<password>@<host>:<port>"
_BEHIND_A_PROXY = f"Where a proxy leads to the internet, set {_PROXY_FORM}."
_CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")  # requests takes the first that is set


class Reason(NamedTuple):
    """Why an address did not give a file, and a sentence on what helps; "" if there is nothing to set."""

    text: str
    hint: str = ""


def is_passing(error: Exception) -> bool:
    """Whether to try again: after a lost connection or from a busy server, not after 404 or a refused certificate."""
    if isinstance(error, requests.HTTPError):
        return error.response.status_code in (408, 429) or error.response.status_code >= 500
    if _asks_for_password(error) or _find(error, ssl.SSLCertVerificationError):
        return False
    return isinstance(error, (requests.ConnectionError, requests.Timeout, urllib3.exceptions.HTTPError))


def explain(error: Exception, url: str) -> Reason:
    """Return why a request for `url` failed.

    Args:
        error: from requests or urllib3.
        url: the address that was asked for.
    """
    if _asks_for_password(error):
        text = f"the proxy {_proxy(url)} asks for a user name and a password (407)"
        return Reason(text, f"Set {_PROXY_FORM}.")
    if isinstance(error, requests.HTTPError):
        return Reason(one_line(f"HTTP {error.response.status_code} {error.response.reason}"))
    return _proxy_reason(error, url) or _certificate_reason(error) or _connection_reason(error, url)


def _asks_for_password(error: Exception) -> bool:
    if isinstance(error, requests.HTTPError):
        return error.response.status_code == requests.codes.proxy_authentication_required
    return isinstance(error, requests.exceptions.ProxyError) and "failed: 407" in str(error)


def _proxy_reason(error: Exception, url: str) -> Reason | None:
    proxy = _proxy(url)
    if isinstance(error, requests.exceptions.ProxyError):
        if _find(error, socket.gaierror):
            problem = "is not known by this name"
        elif tunnel := next((str(each) for each in _causes(error) if str(each).startswith("Tunnel")), None):
            problem = f"refuses the address ({one_line(tunnel)})"
        else:
            problem = "does not answer"
    elif (
        isinstance(error, requests.exceptions.InvalidProxyURL)
        or (isinstance(error, requests.exceptions.InvalidSchema) and "SOCKS" in str(error))
        or (isinstance(error, requests.exceptions.InvalidURL) and proxy and proxy in str(error))
    ):
        problem = f"cannot be used ({one_line(str(error))})"
    else:
        return None
    return Reason(f"the proxy {proxy} {problem}", f"Correct or unset the proxy: {_PROXY_FORM}.")


def _certificate_reason(error: Exception) -> Reason | None:
    variable = next((name for name in _CA_VARIABLES if os.environ.get(name)), None)
    refused = _find(error, ssl.SSLCertVerificationError)
    if refused is not None:
        dated = "expired" in refused.verify_message or "not yet valid" in refused.verify_message
        return Reason(
            f"its certificate is not trusted ({refused.verify_message})",
            "Check the date of this machine."
            if dated
            else "Where a proxy has a certificate authority of its own, as in many companies, set"
            " REQUESTS_CA_BUNDLE=<file with its certificate>.",
        )
    insecure = _find(error, ssl.SSLError)
    cause = "" if insecure is None else str(insecure.reason or insecure).lower().replace("_", " ")
    if variable and ("certificate bundle" in str(error) or "no certificate" in cause or "pem lib" in cause):
        text = f"the environment variable {variable} is {os.environ[variable]!r}, which has no certificates"
        return Reason(one_line(text), f"Correct or unset {variable}.")
    if insecure is not None or isinstance(error, requests.exceptions.SSLError):
        return Reason(f"no secure connection ({cause or 'unknown'})", _BEHIND_A_PROXY)
    return None


def _connection_reason(error: Exception, url: str) -> Reason:
    if _find(error, socket.gaierror):
        return Reason(f"the name {urlsplit(url).hostname} cannot be resolved: no internet, or no DNS", _BEHIND_A_PROXY)
    if isinstance(error, requests.Timeout):
        return Reason("no answer in time", _BEHIND_A_PROXY)
    if isinstance(error, (requests.ConnectionError, urllib3.exceptions.HTTPError)):
        return Reason("no connection", _BEHIND_A_PROXY)
    return Reason(one_line(str(error)))


def _proxy(url: str) -> str:
    """The proxy for an address, without user and password; "" without a proxy."""
    proxy = select_proxy(url, get_environ_proxies(url)) or ""
    return proxy.rpartition("://")[2].rpartition("@")[2]


def _find(error: Exception, kind: type[_Kind]) -> _Kind | None:
    return next((cause for cause in _causes(error) if isinstance(cause, kind)), None)


def _causes(error: Exception) -> Iterator[BaseException]:
    """Yield an exception and all within it: requests and urllib3 wrap the system's own in several layers."""
    found: list[object] = [error]
    for cause in found:  # grows meanwhile
        if isinstance(cause, BaseException):
            yield cause
            inner = (getattr(cause, "reason", None), cause.__cause__, cause.__context__, *cause.args)
            found += [each for each in inner if not any(each is known for known in found)]
