"""The jobs of a study: each result once, in an order in which they can be done."""

from beadsmith.study.jobs import plan_jobs
from example_studies import GRID, MAPPINGS, SPLINE_AND_NETWORK, make_study


def by_verb(jobs, verb):
    return [job for job in jobs if verb in job.verbs]


def test_the_reference_is_sampled_once_and_each_mapping_mapped_once(tmp_path):
    jobs = plan_jobs(make_study(tmp_path, mappings=MAPPINGS, networks=SPLINE_AND_NETWORK))
    assert [job.name for job in by_verb(jobs, "sample")] == ["sample"]
    assert [job.name for job in by_verb(jobs, "map")] == ["map-centre", "map-oxygen"]
    assert len(by_verb(jobs, "train")) == len(by_verb(jobs, "simulate")) == len(by_verb(jobs, "evaluate")) == 4


def test_only_the_report_waits_for_the_diagnosis_of_the_map(tmp_path):
    jobs = {job.name: job for job in plan_jobs(make_study(tmp_path, networks=SPLINE_AND_NETWORK))}
    assert jobs["train-hipnn"].needs == jobs["diagnose-hipnn"].needs == ("map",)
    assert jobs["evaluate-hipnn"].needs == ("simulate-hipnn", "diagnose-hipnn")


def test_a_force_field_is_trained_once_for_several_simulations(tmp_path):
    axes = {"friction": {"low": {"simulation.friction": "1 /ps"}, "high": {"simulation.friction": "10 /ps"}}}
    jobs = plan_jobs(make_study(tmp_path, networks=SPLINE_AND_NETWORK, axes=axes))
    assert [job.name for job in by_verb(jobs, "train")] == ["train-spline", "train-hipnn"]
    assert len(by_verb(jobs, "simulate")) == 4
    second = next(job for job in jobs if job.name == "simulate-spline-high")
    assert (second.needs, second.donors) == (("train-spline",), ("spline-low",))


def test_every_job_comes_after_those_that_it_needs(tmp_path):
    for entries in ({"mappings": MAPPINGS, "networks": SPLINE_AND_NETWORK}, {**GRID, "networks": SPLINE_AND_NETWORK}):
        done: set[str] = set()
        for job in plan_jobs(make_study(tmp_path, **entries)):
            assert set(job.needs) <= done
            assert job.name not in done
            done.add(job.name)


def test_a_job_is_the_same_as_long_as_the_settings_before_it_are(tmp_path):
    def keys(**entries):
        study = make_study(tmp_path, mappings=MAPPINGS, networks=SPLINE_AND_NETWORK, **entries)
        return {job.name: job.key for job in plan_jobs(study)}

    before, after = keys(), keys(replicas=5)
    changed = {name.split("-")[0] for name in before if before[name] != after[name]}
    assert changed == {"simulate", "evaluate"}
    assert keys() == before


def test_every_state_of_a_transfer_study_is_sampled_once(tmp_path):
    jobs = plan_jobs(make_study(tmp_path, **GRID, networks=SPLINE_AND_NETWORK))
    assert len(by_verb(jobs, "sample")) == len(by_verb(jobs, "map")) == 4
    trainings = [job for job in jobs if job.verbs == ("train",)]
    assert len(trainings) == 2 * 5
    joint = next(job for job in trainings if job.name == "train-hipnn-joint")
    assert set(joint.needs) == {job.name for job in by_verb(jobs, "map")}
    cells = [job for job in jobs if "simulate" in job.verbs]
    assert len(cells) == 2 * 5 * 4
    assert all(job.verbs == ("train", "simulate") for job in cells)
