import asyncio
import shutil

import pytest

from benchmarks.harness.bench_bundle import write_workload
from benchmarks.lab.scale import settings_of
from benchmarks.peers import bare_relay, nginx_static, python_servers
from benchmarks.peers.compare import PEERS, install_systems
from benchmarks.peers.environment import RUNTIME, PeerEnvironment
from benchmarks.peers.scorer import Graph, Scorer
from divisions.errors import InputError


def quiet(_line):
    pass


def test_every_peer_is_pinned_and_says_how_it_is_set():
    for peer in (python_servers.MOSEC, python_servers.BENTOML, python_servers.LITSERVE, python_servers.MLSERVER):
        assert all("==" in pin for pin in peer.environment.pins)
        assert not any(pin.startswith("torch") for pin in peer.environment.pins)
        assert set(RUNTIME) <= set(peer.environment.pins)
    assert all(peer.note for peer in PEERS.values())


def test_peers_score_with_the_same_libraries_as_we_do():
    with open("constraints.txt", encoding="utf-8") as lines:
        ours = {line.strip() for line in lines}
    assert set(RUNTIME) <= ours


def test_an_environment_with_these_pins_is_kept(tmp_path, monkeypatch):
    environment = PeerEnvironment("peer", ("a==1",))
    (tmp_path / "peers" / "peer").mkdir(parents=True)
    (tmp_path / "peers" / "peer" / "pins.txt").write_text("a==1\n")
    monkeypatch.setattr("subprocess.run", None)  # nothing may be installed
    environment.prepare(tmp_path, quiet)


def test_what_cannot_be_installed_is_absent_and_the_others_go_on(tmp_path, monkeypatch):
    class Present:
        name = "present"
        note = ""

        def prepare(self, build, say):
            pass

    class Absent(Present):
        name = "absent"

        def prepare(self, build, say):
            raise InputError("no network", remedy="plug it in")

    present, absent = install_systems([Absent(), Present()], tmp_path, quiet)
    assert [system.name for system in present] == ["present"]
    assert absent == {"absent": "no network. plug it in"}


def test_a_failed_installation_quotes_pip(tmp_path, monkeypatch):
    def run(command, stdout, **_options):
        stdout.write(b"Collecting a\nERROR: no matching distribution found for a\n")
        return type("Done", (), {"returncode": 1})

    monkeypatch.setattr("subprocess.run", run)
    with pytest.raises(InputError, match="peer could not be installed: ERROR: no matching distribution"):
        PeerEnvironment("peer", ("a==1",)).prepare(tmp_path, quiet)


def test_bodies_carry_the_same_numbers_in_every_protocol(tmp_path):
    import json

    workload = write_workload(tmp_path / "bundle")
    features = json.loads(workload.body)["features"]
    (listed,) = json.loads(python_servers.BENTOML.body(workload))
    assert listed["features"] == features
    (tensor,) = json.loads(python_servers.MLSERVER.body(workload))["inputs"]
    assert tensor["data"] == [features[name] for name in workload.schema.names]
    assert tensor["shape"] == [1, 32]


def test_all_peers_score_a_row_alike_whatever_its_batch(tmp_path):
    workload = write_workload(tmp_path / "bundle", num_features=4)
    scorer = Scorer(Graph(str(workload.onnx), workload.schema.names))
    row = scorer.row(dict.fromkeys(workload.schema.names, 0.5))
    (alone,) = scorer.scores([row])
    assert scorer.scores([row] * 5) == pytest.approx([alone] * 5, abs=1e-6)


def test_without_nginx_it_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name, path=None: None)
    with pytest.raises(InputError, match="apt-get install nginx-light"):
        nginx_static.NginxStatic().prepare(tmp_path, quiet)


def test_every_point_of_the_scale_benchmark_changes_one_axis_only():
    settings = settings_of()
    assert len({(setting.axis, setting.value) for setting in settings}) == len(settings)
    for setting in settings:
        usual = setting.arrangement
        changed = [usual.gateways != 1 or usual.replicas != 1, usual.max_batch != 256, usual.placement != "replicas"]
        assert sum(changed) + (setting.model != "256-256-128") <= 1


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_the_bare_relay_answers_every_connection_from_a_real_replica(tmp_path):
    workload = write_workload(tmp_path / "bundle")

    async def ask(host, port, requests):
        reader, writer = await asyncio.open_connection(host, port)
        head = b"POST /predict HTTP/1.1\r\nhost: here\r\ncontent-length: %d\r\n\r\n" % len(workload.body)
        answers = []
        for _ in range(requests):
            writer.write(head)
            await writer.drain()
            await asyncio.sleep(0.001)  # in two pieces: only a whole request may be answered
            writer.write(workload.body)
            length = int((await reader.readuntil(b"\r\n\r\n")).rpartition(b"content-length: ")[2])
            answers.append(await reader.readexactly(length))
        writer.close()
        return answers

    async def ask_all(served):
        host, port = served.url.removeprefix("http://").partition("/")[0].split(":")
        return await asyncio.wait_for(asyncio.gather(*(ask(host, int(port), 5) for _ in range(12))), 60)

    with bare_relay.BareRelay().serving(workload, tmp_path) as served:
        found = asyncio.run(ask_all(served))
    assert found == [[nginx_static.BODY.encode()] * 5] * 12


def test_without_a_compiler_the_bare_relay_says_how_to_get_one(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name, path=None: None)
    with pytest.raises(InputError, match="apt-get install gcc"):
        bare_relay.BareRelay().prepare(tmp_path, quiet)
