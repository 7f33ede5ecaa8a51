#!/usr/bin/env python3
"""Opens a report.html in headless Chromium, as a phone and as a desktop, light and dark, and checks it.

    apt-get install -y chromium chromium-driver
    python3 tools/report_browser.py RUN/report.html --out screenshots

Checked each time: nothing on the console, nothing loaded from elsewhere, every picture complete, no
sideways scrolling of the page, every text readable on its ground (contrast 4.5). Writes a screenshot of the
whole page for each; look at them. Needs only Python's standard library.
"""

import argparse
import base64
import json
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--force-color-profile=srgb",
]
SCREENS = {"phone": (390, 844, True), "desktop": (1280, 900, False)}

CHECKS = """
const luminance = (rgb) => {
  const [r, g, b] = rgb.map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const colour = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
const ground = (element) => {
  for (; element; element = element.parentElement) {
    const rgba = colour(getComputedStyle(element).backgroundColor);
    if (rgba.length === 3 || rgba[3] > 0) return rgba.slice(0, 3);
  }
  return [255, 255, 255];
};
const faint = [];
for (const element of document.querySelectorAll("p, h1, h2, h3, a, th, td, dt, dd, code, figcaption, summary, svg text")) {
  if (!element.textContent.trim()) continue;
  const style = getComputedStyle(element);
  const ink = colour(element.closest("svg") ? style.fill : style.color).slice(0, 3);
  const [low, high] = [luminance(ink), luminance(ground(element))].sort((a, b) => a - b);
  const contrast = (high + 0.05) / (low + 0.05);
  if (contrast < 4.5) faint.push(element.textContent.trim().slice(0, 30) + " " + contrast.toFixed(2));
}
const images = [...document.images];
return {
  images: images.length,
  plots: document.querySelectorAll("svg").length,
  broken: images.filter((image) => !image.complete || image.naturalWidth === 0).map((image) => image.alt),
  loaded: performance.getEntriesByType("resource").map((entry) => entry.name).filter((name) => !name.startsWith("data:")),
  sideways: document.documentElement.scrollWidth - document.documentElement.clientWidth,
  height: document.documentElement.scrollHeight,
  dark: matchMedia("(prefers-color-scheme: dark)").matches,
  faint: faint,
};
"""


class Browser:
    """A session of ChromeDriver."""

    def __init__(self, profile):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.driver = subprocess.Popen(["chromedriver", f"--port={port}"], stdout=subprocess.DEVNULL)
        self.address = f"http://127.0.0.1:{port}"
        self.session = None
        options = {"args": FLAGS + [f"--user-data-dir={profile}"]}
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        for _ in range(100):
            try:
                self.post("/status", None)
                break
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.1)
        found = self.post("/session", {"capabilities": {"alwaysMatch": wanted}})
        self.session = f"/session/{found['sessionId']}"

    def post(self, path, body):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.address + path, data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.load(answer)["value"]

    def call(self, path, body):
        return self.post(self.session + path, body)

    def cdp(self, command, **parameters):
        return self.call("/goog/cdp/execute", {"cmd": command, "params": parameters})

    def close(self):
        if self.session:
            request = urllib.request.Request(self.address + self.session, method="DELETE")
            urllib.request.urlopen(request, timeout=30).close()
        self.driver.terminate()
        self.driver.wait()


def look(browser, page, screen, scheme, out):
    """Faults of the page on one screen."""
    width, height, mobile = SCREENS[screen]
    browser.cdp("Emulation.setDeviceMetricsOverride", width=width, height=height, mobile=mobile, deviceScaleFactor=1)
    browser.cdp("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    browser.call("/url", {"url": page.resolve().as_uri()})
    found = browser.call("/execute/sync", {"script": CHECKS, "args": []})
    said = [line["message"] for line in browser.call("/se/log", {"type": "browser"})]
    clip = {"x": 0, "y": 0, "width": width, "height": found["height"], "scale": 1}
    shot = browser.cdp("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
    path = out / f"{screen}-{scheme}.png"
    path.write_bytes(base64.b64decode(shot["data"]))
    print(f"{path}: {found['images']} pictures, {found['plots']} plots, {width} x {found['height']}")
    faults = [f"console: {line}" for line in said]
    faults += [f"not complete: {name}" for name in found["broken"]]
    faults += [f"loaded: {name}" for name in found["loaded"]]
    faults += [f"hard to read: {text}" for text in found["faint"]]
    if found["sideways"] > 0:
        faults.append(f"{found['sideways']} pixels too wide")
    if found["dark"] != (scheme == "dark"):
        faults.append("the colour scheme could not be set")
    return [f"{screen}, {scheme}: {fault}" for fault in faults]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("screenshots"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    faults = []
    with tempfile.TemporaryDirectory() as profile:
        browser = Browser(profile)
        try:
            for screen in SCREENS:
                for scheme in ("light", "dark"):
                    faults += look(browser, arguments.page, screen, scheme, arguments.out)
        finally:
            browser.close()
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
