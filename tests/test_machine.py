from pathlib import Path

from palimpsest import machine

AMD = "processor\t: 0\nvendor_id\t: AuthenticAMD\ncpu family\t: 25\nmodel\t\t: 17\nmodel name\t: AMD EPYC\n"
ARM = "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd0c\n"


def test_the_kind_of_processor_is_vendor_family_and_model(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(AMD + "\n" + AMD.replace("17", "99"), "utf-8")
    assert machine.processor(cpuinfo).endswith(" AuthenticAMD 25 17")
    cpuinfo.write_text(ARM, "utf-8")
    assert machine.processor(cpuinfo).endswith(" 0x41 0xd0c")


def test_without_cpuinfo_the_system_gives_the_processor(tmp_path: Path) -> None:
    assert machine.processor(tmp_path / "missing")
