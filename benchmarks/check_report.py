"""Opens pages of rankforge in a browser, as a phone and as a desk show them, light and dark.

    pip install playwright==1.65.2
    python benchmarks/check_report.py PAGE.html... --browser FILE [--screenshots FOLDER]

Pages are those of `rankforge train`, `rankforge compare --report` and `rankforge evaluate cascade
--report`. FILE is the program of a Chromium; without it, playwright takes the one that `playwright
install chromium` put in place. Exits with 1 at any of these: a message on the console, an error of
a script, a request to the network or for another file, a page wider than its window, a text whose
colour hardly differs from its background, a chart without an area.
"""

import argparse
import itertools
import pathlib
import sys

from playwright.sync_api import sync_playwright

WIDTHS = {"phone": (390, 844), "desk": (1280, 900)}
SCHEMES = ["light", "dark"]
LEAST_CONTRAST = 3.0
# A browser makes no images of more; so many pixels of a page are in its screenshot.
TALLEST = 6000

# The width of the page and of its widest element that is not in a scrolling box, the smallest
# contrast of a text with the background below it, and the number of charts without an area.
MEASURE = """() => {
  const scrolls = (element) => {
    for (let at = element; at; at = at.parentElement) {
      if (['auto', 'scroll'].includes(getComputedStyle(at).overflowX)) return true;
    }
    return false;
  };
  const visible = [...document.body.querySelectorAll('*')].filter((e) => e.checkVisibility());
  const widest = visible.filter((e) => !scrolls(e) && !e.closest('svg'))
    .map((e) => [e.getBoundingClientRect().right, e.outerHTML.slice(0, 80)])
    .reduce((a, b) => (b[0] > a[0] ? b : a), [0, '']);
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = (colour) => {
    const [r, g, b] = numbers(colour).map((v) => v / 255)
      .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const below = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (colour !== 'rgba(0, 0, 0, 0)') return colour;
    }
    return 'rgb(255, 255, 255)';
  };
  const contrast = (element) => {
    const style = getComputedStyle(element);
    const text = element.closest('svg') ? style.fill : style.color;
    const [a, b] = [light(text), light(below(element))].sort((x, y) => y - x);
    return (a + 0.05) / (b + 0.05);
  };
  const texts = visible.filter((e) => [...e.childNodes]
    .some((node) => node.nodeType === 3 && node.textContent.trim()));
  const faintest = texts.map((e) => [contrast(e), e.outerHTML.slice(0, 80)])
    .reduce((a, b) => (b[0] < a[0] ? b : a), [99, '']);
  const charts = [...document.querySelectorAll('svg')].filter((e) => !e.closest('.key'));
  const empty = charts.filter((e) => e.getBoundingClientRect().height < 50).length;
  return {scroll: document.documentElement.scrollWidth, widest, faintest,
          charts: charts.length, empty};
}"""


def check(page, path, width, problems):
    """Measures the page that is open."""
    page.evaluate("document.querySelectorAll('details').forEach((e) => (e.open = true))")
    found = page.evaluate(MEASURE)
    if found["scroll"] > width:
        problems.append(f"it is {found['scroll']} pixels wide: {found['widest'][1]}")
    if found["faintest"][0] < LEAST_CONTRAST:
        problems.append(f"contrast of {found['faintest'][0]:.1f}: {found['faintest'][1]}")
    if found["empty"]:
        problems.append(f"{found['empty']} of {found['charts']} charts have no area")
    if not found["charts"]:
        problems.append("it has no chart")


def open_page(browser, path, size, scheme, screenshots):
    """What is wrong with a page at a size, in a colour scheme."""
    (name, (width, height)), problems = size, []
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme=scheme,
        device_scale_factor=2 if name == "phone" else 1,
        is_mobile=name == "phone",
    )
    page = context.new_page()
    page.on("console", lambda message: problems.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: problems.append(f"error: {error}"))
    address = path.resolve().as_uri()

    def request(asked):
        if asked.url != address and not asked.url.startswith("data:"):
            problems.append(f"request for {asked.url}")

    page.on("request", request)
    page.goto(address)
    check(page, path, width, problems)
    if screenshots:
        screenshots.mkdir(parents=True, exist_ok=True)
        page.evaluate("document.querySelectorAll('details').forEach((e, i) => (e.open = i === 0))")
        file = screenshots / f"{path.stem}-{name}-{scheme}.png"
        long = min(page.evaluate("document.documentElement.scrollHeight"), TALLEST)
        clip = {"x": 0, "y": 0, "width": width, "height": long}
        page.screenshot(path=str(file), full_page=True, clip=clip)
    context.close()
    return problems


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pages", nargs="+", type=pathlib.Path)
    parser.add_argument("--browser", help="program of a Chromium")
    parser.add_argument("--screenshots", type=pathlib.Path)
    arguments = parser.parse_args()
    failed = 0
    flags = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    with sync_playwright() as playwright:
        for path, size, scheme in itertools.product(arguments.pages, WIDTHS.items(), SCHEMES):
            browser = playwright.chromium.launch(executable_path=arguments.browser, args=flags)
            problems = open_page(browser, path, size, scheme, arguments.screenshots)
            browser.close()
            failed += len(problems)
            for problem in problems or ["as it should be"]:
                print(f"{path}, {size[0]}, {scheme}: {problem}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
