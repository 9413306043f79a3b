"""The report in headless Chromium with the network cut off, at two widths and in dark mode."""

import base64
import json
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from rosecd_jax.evaluation.report import write_report
from tests.evaluation.results_folder import RATE, SYSTEMS, pairs, write_results

pytestmark = pytest.mark.slow

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
    "--proxy-server=http://127.0.0.1:9",
    "--host-resolver-rules=MAP * ~NOTFOUND",
)
NAMES = ["noisy", *SYSTEMS]
VIEWS = [(1280, "light"), (390, "light"), (1280, "dark"), (390, "dark")]
SECONDS = 10.0
SLOPE, OFFSET = 0.1, 0.8


def coded(name):
    """A pair whose samples say at which position they are: a ramp, and for noise a constant."""
    ramp = np.linspace(0, SLOPE, round(SECONDS * RATE), endpoint=False)
    return name, ramp, ramp + OFFSET


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """Five pairs of sounds and one that is a ramp, which comes first."""
    folder = tmp_path_factory.mktemp("evaluation")
    directory = write_results(folder, [coded("ramp.wav"), *pairs(5)])
    write_report(directory, play=["ramp.wav", *(name for name, *_ in pairs(5))])
    return directory


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    webdriver = pytest.importorskip("selenium.webdriver")
    from selenium.webdriver.chrome.service import Service

    chromium = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chrome")
    chromedriver = shutil.which("chromedriver")
    if not chromium or not chromedriver:
        pytest.skip(f"there is no {'chromedriver' if chromium else 'Chromium'} on PATH")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(chromedriver))
    driver.set_script_timeout(60)
    yield driver
    driver.quit()


@pytest.fixture
def page(browser, directory):
    """The report, loaded again; nothing may be in the console at the end."""
    view(browser, 1280, "light")
    browser.get((directory / "report.html").as_uri())
    yield browser
    assert browser.get_log("browser") == []


def view(browser, width, scheme):
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def run(page, code, *values):
    """Result of a script that may wait."""
    wrapped = (
        "const done = arguments[arguments.length - 1];"
        "const wait = (ms) => new Promise((ready) => setTimeout(ready, ms));"
        f"(async (...values) => {{ {code} }})(...[...arguments].slice(0, -1))"
        ".then((value) => done({ value }), (error) => done({ error: String(error) }));"
    )
    result = page.execute_async_script(wrapped, *values)
    assert "error" not in result, result
    return result["value"]


def press(page, key):
    from selenium.webdriver.common.action_chains import ActionChains

    ActionChains(page).send_keys(key).perform()


def state(page):
    return run(page, "const p = rosecdReport.player; return [p.playing, p.card, p.sound, p.position]")


def rows(page):
    """Text of the table's cells, but the play buttons'."""
    return run(
        page,
        "return [...document.querySelectorAll('#table tbody tr')].map((row) =>"
        " [...row.cells].map((cell) => cell.textContent.replace('▶', '')))",
    )


def wait_for(page, condition, seconds=20):
    end = time.monotonic() + seconds
    while not run(page, f"return Boolean({condition})"):
        assert time.monotonic() < end, f"{condition} did not come true"
        time.sleep(0.05)


@pytest.mark.parametrize(("width", "scheme"), VIEWS)
def test_it_fits_its_window_in_both_color_schemes(page, width, scheme, tmp_path):
    view(page, width, scheme)
    fits = "const e = document.documentElement; return [e.scrollWidth - e.clientWidth, innerWidth]"
    assert run(page, fits) == [0, width]
    dark = run(page, "return getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, dark[4:-1].split(","))) < 150) == (scheme == "dark")
    broken = "[...document.images].filter((image) => !image.complete || !image.naturalWidth).length"
    assert run(page, f"return {broken}") == 0
    run(page, "document.querySelector('#blind-open').click()")
    assert run(page, fits) == [0, width]
    run(page, "document.querySelector('#blind-form').requestSubmit()")
    assert run(page, fits) == [0, width]
    page.execute_script("rosecdReport.blind.leave()")
    picture = page.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})["data"]
    (tmp_path / "report.png").write_bytes(base64.b64decode(picture))


def test_the_network_is_cut_off(browser):
    reached = run(browser, "return fetch('http://localhost:9/').then(() => true, () => false)")
    assert reached is False
    browser.get_log("browser")


def test_every_control_has_a_name_and_can_have_the_focus(page):
    nameless = run(
        page,
        """return [...document.querySelectorAll("button, select, input, a[href]")]
          .filter((e) => !e.textContent.trim() && !e.getAttribute("aria-label") && !e.labels?.length)
          .map((e) => e.outerHTML.slice(0, 200))""",
    )
    assert nameless == []
    assert (
        run(page, "return document.querySelectorAll('[tabindex]:not([tabindex=\"0\"]):not(h2)').length") == 0
    )


def test_the_table_is_sorted_by_any_column_both_ways(page):
    names = [row[0] for row in rows(page)]
    assert names == sorted(names, key=str.lower)
    header = "[...document.querySelectorAll('#table thead button')].find((b) => b.textContent === 'small')"
    column = run(page, f"return {header}.closest('th').cellIndex")
    for direction in ("ascending", "descending"):
        run(page, f"{header}.click()")
        values = [float(row[column].replace("−", "-")) for row in rows(page)]
        assert values == sorted(values, reverse=direction == "descending")
        assert run(page, f"return {header}.closest('th').ariaSort") == direction
        assert run(page, "return document.activeElement.textContent") == "small"
    run(page, f"{header.replace('small', 'teacher-5')}.click()")
    column = run(page, f"return {header.replace('small', 'teacher-5')}.closest('th').cellIndex")
    assert [row[column] for row in rows(page)][-1] == "–"


def test_the_table_is_filtered_and_shows_another_measure(page):
    script = "const e = document.getElementById(values[0]); e.value = values[1];"
    script += "e.dispatchEvent(new Event('input', { bubbles: true }))"
    run(page, script, "words", "P257")
    assert rows(page)
    assert all("p257" in row[0] for row in rows(page))
    run(page, script, "words", "<script>")
    assert [row[0] for row in rows(page)] == ["<script>alert(1)</script>.wav"]
    assert run(page, "return document.getElementById('count').textContent") == "1 of 6 files"
    run(page, script, "words", "")
    run(page, script, "which", "notes")
    assert ["cut to 16000 samples" in row[-1] for row in rows(page)] == [True]
    run(page, script, "which", "all")
    before = rows(page)
    run(page, script, "view", "differences")
    assert rows(page)[0][-2][0] in "+−0"
    run(
        page,
        "const s = document.querySelector('select.measure'); s.value = 'lsd';"
        "s.dispatchEvent(new Event('change'))",
    )
    assert rows(page) != before
    shown = "[...document.querySelectorAll('.conditions')].filter((e) => !e.hidden)"
    assert run(page, f"return {shown}.map((e) => e.dataset.measure)") == ["lsd"]


LISTEN = """
const { player } = rosecdReport;
const analyser = player.context.createAnalyser();
player.output.connect(analyser);
const samples = new Float32Array(analyser.fftSize);
const read = () => {
  analyser.getFloatTimeDomainData(samples);
  return [samples[samples.length - 1], player.position, player.context.currentTime];
};
"""


def heard_at(value, place):
    """Position in seconds of a sample of the ramp, of the sound of that place."""
    offset = [1.0, 0.4, 0.25, 0.8, 0.0][place] * OFFSET
    slope = (0.9 if place == 3 else 1.0) * SLOPE
    return (value - offset) / slope * SECONDS


def test_a_key_switches_within_20_ms_of_the_same_position(page):
    run(page, "document.querySelector('.card .seek').scrollIntoView()")
    press(page, " ")
    wait_for(page, "rosecdReport.player.position > 0.2")
    for place in (1, 4, 2, 3, 0):
        before = run(page, LISTEN + "await wait(60); return read()")
        previous = state(page)[2]
        press(page, str(place + 1))
        wait_for(page, f"rosecdReport.player.sound === {place}")
        after = run(page, LISTEN + "await wait(60); return read()")
        assert state(page)[:3] == [True, 0, place]
        assert heard_at(before[0], previous) == pytest.approx(before[1], abs=0.02)
        assert heard_at(after[0], place) == pytest.approx(after[1], abs=0.02)
        passed = heard_at(after[0], place) - heard_at(before[0], previous)
        assert passed == pytest.approx(after[2] - before[2], abs=0.02)
    pressed = "document.querySelectorAll('#recording-0 [aria-pressed=true]')"
    assert run(page, f"return [...{pressed}].map((e) => e.dataset.sound)") == ["0"]


def test_space_pauses_arrows_move_and_the_end_stops(page):
    run(page, "await rosecdReport.player.load(0)")
    press(page, " ")
    wait_for(page, "rosecdReport.player.position > 0.1")
    press(page, " ")
    playing, _, _, position = state(page)
    assert not playing
    time.sleep(0.1)
    assert state(page)[3] == position
    press(page, "\ue014")  # arrow to the right
    assert state(page)[3] == pytest.approx(position + 1, abs=0.01)
    run(page, f"rosecdReport.player.seek({SECONDS - 0.2})")
    press(page, " ")
    wait_for(page, "rosecdReport.player.playing")
    wait_for(page, "!rosecdReport.player.playing")
    assert state(page)[3] == 0


def test_a_click_on_a_spectrogram_plays_it_and_space_pauses_it(page):
    run(page, "document.querySelector('#recording-1 [data-sound=\"2\"]').click()")
    wait_for(page, "rosecdReport.player.playing")
    assert state(page)[1:3] == [1, 2]
    run(page, "document.querySelector('#recording-1 [data-sound=\"2\"]').focus()")
    press(page, " ")
    assert state(page)[0] is False


def test_the_sounds_repeat_at_the_same_position(page):
    run(page, "document.getElementById('loop').click(); await rosecdReport.player.play(0)")
    run(page, f"rosecdReport.player.seek({SECONDS - 0.3})")
    wait_for(page, "rosecdReport.player.position < 1")
    value, position, _ = run(page, LISTEN + "await wait(60); return read()")
    assert heard_at(value, 0) == pytest.approx(position, abs=0.02)


def start_session(page, kind, folder):
    behavior = {"behavior": "allow", "downloadPath": str(folder)}
    page.execute_cdp_cmd("Browser.setDownloadBehavior", behavior)
    run(
        page,
        "document.getElementById('blind-open').click();"
        "const form = document.getElementById('blind-form');"
        "form.elements.kind.value = values[0]; form.elements.listener.value = 'Ann';"
        "form.elements.most.value = 4; form.requestSubmit();",
        kind,
    )


def assert_blind(page):
    """No name of a system is on the page or in the markup that a listener can look at."""
    for words in (
        run(page, "return document.body.innerText"),
        run(page, "return document.getElementById('blind').outerHTML"),
    ):
        assert not [name for name in (*NAMES, "clean") if name in words]
    visible = "[...document.querySelectorAll('body > :not(script)')].filter((e) => e.offsetParent)"
    assert run(page, f"return {visible}.map((e) => e.id)") == ["blind"]


def saved(page, folder) -> Path:
    run(page, "document.querySelector('#blind .save').click()")
    end = time.monotonic() + 20
    while not (found := list(folder.glob("*.json"))):
        assert time.monotonic() < end, "nothing was downloaded"
        time.sleep(0.05)
    return found[0]


def test_a_session_of_ratings_is_blind_saved_and_comes_back(page, directory, tmp_path):
    start_session(page, "mushra", tmp_path)
    wait_for(page, "rosecdReport.player.buffers.length")
    orders = []
    for number in range(4):
        assert_blind(page)
        assert run(page, "return document.querySelector('#blind-trial h2').textContent").startswith(
            f"Recording {number + 1} of 4"
        )
        press(page, "1")
        wait_for(page, "rosecdReport.player.playing")
        pressed = "document.querySelectorAll('#blind [aria-pressed=true]')"
        assert run(page, f"return [...{pressed}].map((e) => e.textContent)") == ["1 A"]
        assert run(page, "return document.querySelector('#blind .next').disabled")
        orders.append(run(page, "return rosecdReport.blind.trial.sounds.map((s) => s.system)"))
        run(
            page,
            """const { sounds } = rosecdReport.blind.trial;
            [...document.querySelectorAll(".stimulus [type=range]")].forEach((slider, i) => {
              slider.value = sounds[i].system === null ? 100 : 10 * (1 + sounds[i].place);
              slider.dispatchEvent(new Event("input"));
            });
            document.querySelector("#blind .next").click()""",
        )
    assert len({tuple(order) for order in orders}) > 1
    assert_blind(page)
    path = saved(page, tmp_path)
    content = json.loads(path.read_text("utf-8"))
    assert (content["listener"], content["kind"], len(content["trials"])) == ("Ann", "mushra", 4)
    run(page, "document.querySelector('#blind .reveal').click()")
    assert "noisy" in run(page, "return document.querySelector('#blind .revealed').innerText")
    report = write_report(directory, [path], play=["ramp.wav", *(name for name, *_ in pairs(5))])
    page.get(report.as_uri())
    row = run(page, "return document.querySelector('tr.ratings').innerText").split()
    assert [word for word in row if word in ("10", "20", "30", "40")]
    cells = run(page, "return [...document.querySelectorAll('tr.ratings td span')].map((e) => e.innerText)")
    assert cells == ["10", "20", "30", "40"]


def test_a_session_of_comparisons_is_blind_and_saved(page, directory, tmp_path):
    start_session(page, "preference", tmp_path)
    for _ in range(3):
        assert_blind(page)
        run(
            page,
            """const { sounds } = rosecdReport.blind.trial;
            const better = sounds[0].place > sounds[1].place ? 0 : 1;
            document.querySelectorAll("#blind .choices input")[better].click();
            document.querySelector("#blind .next").click()""",
        )
    run(page, "document.querySelector('#blind .stop').click()")
    path = saved(page, tmp_path)
    trials = json.loads(path.read_text("utf-8"))["trials"]
    assert len(trials) == 3
    assert all(t["preferred"] == max(t["systems"], key=NAMES.index) for t in trials)
    assert "Listening, preferred" in write_report(directory, [path]).read_text("utf-8")
