"""What users may script: a whole run through `gradio_client`."""

import time

import pytest

pytestmark = pytest.mark.browser  # the studio fixture serves the browser journeys too

PUBLIC = {
    "/list_models", "/list_datasets", "/import_dataset", "/list_runs", "/start_run", "/run_events", "/stop_run", "/compare",
}


@pytest.fixture(scope="module")
def client(studio):
    from gradio_client import Client

    return Client(studio.url, verbose=False)


def test_only_the_named_endpoints_are_public_and_each_is_documented(client):
    endpoints = client.view_api(return_format="dict")["named_endpoints"]
    assert set(endpoints) == PUBLIC
    assert all(one.get("description") for one in endpoints.values())


def test_a_whole_run_by_script(client, tmp_path):
    file = tmp_path / "capitals.csv"
    file.write_text("question,answer\n" + "".join(f"Where is town {n}?,It is in country {n}.\n" for n in range(20)))
    card = client.predict(path=str(file), name="capitals", api_name="/import_dataset")
    assert card["rows"] == 20
    assert card["id"] in [one["id"] for one in client.predict(api_name="/list_datasets")]
    assert "starter" in client.predict(api_name="/list_models")

    spec = {"name": "by script", "data": {"id": card["id"]}, "training": {"max_steps": 2, "probes": ["Where is town 3?"]}}
    run = client.predict(spec=spec, api_name="/start_run")
    events, cursor = [], 0
    deadline = time.monotonic() + 240
    while not any(event["kind"] == "finished" for event in events):
        assert time.monotonic() < deadline, events[-1]
        answer = client.predict(run=run, after=cursor, api_name="/run_events")
        events, cursor = answer["events"] if answer["whole"] else events + answer["events"], answer["cursor"]
        time.sleep(0.5)
    assert [event["step"] for event in events if event["kind"] == "step"] == [1, 2]
    assert client.predict(run=run, api_name="/stop_run") == "done"
    assert client.predict(api_name="/list_runs")[0]["id"] == run

    said = client.predict(
        prompt="Where is town 3?", left="base:starter", right=f"run:{run}", settings={"max_tokens": 8}, api_name="/compare"
    )
    assert said["left"]["text"] and said["right"]["text"]


def test_a_wrong_spec_is_refused_with_all_its_faults(client):
    with pytest.raises(Exception, match="(?s)learning_rate.*batch_size"):
        client.predict(spec={"data": {"id": "x"}, "training": {"learning_rate": -1, "batch_size": 0}}, api_name="/start_run")
