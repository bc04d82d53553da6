#!/usr/bin/env python3
"""Usage: strptime_table.py > tests/data/strptime.tsv

Records what strptime of this Python makes of run directory names: a line has the name as a JSON string,
a tab, and seconds since 0001-01-01T00:00:00, or `-` for a refusal. Same output on every run. The committed
table is of Python 3.11 (Unicode 14.0), as is the table of digits in src/snapshot/run.rs."""
import datetime, json, random, unicodedata

START, SECOND = datetime.datetime(1, 1, 1), datetime.timedelta(seconds=1)
PLAIN = """20240115T140000Z 20240115T1400Z 2024115T140000Z 20240115t140000z 2024115T1400Z 2024111T000Z 20240229T000000Z
20230229T000000Z 19000229T000000Z 20000229T000000Z 20240230T000000Z 20240431T000000Z 20240115T240000Z 20240115T235960Z
20240115T235961Z 20240115T235962Z 20240115T236000Z 00000101T000000Z 00010101T000000Z 99991231T235959Z 10101T000000Z
9999123T235959Z 20241301T000000Z 20240015T000000Z 20240100T000000Z 20240132T000000Z 202411T000Z 2024111T111Z 20241111T1111Z
20241231T1Z 20240115T14Z 20240115TZ T Z README lost+found opencti_data 20240115T140000 20240115T140000ZZ 20240115140000Z
2024-01-15T14:00:00Z +2024115T140000Z 20240115T140000.Z 2024011T140000Z 20240101T24000Z 20240101T240Z 20240101T6060Z""".split()
BLANKS = """|_|20240115T140000Z_|_20240115T140000Z|202401_5T140000Z|20241_5T140000Z|2024_15T140000Z|202401_0T140000Z|2024_1_5T140000Z
202401__5T140000Z|20240115T_40000Z|20240115T14000_Z|20240115_T140000Z|2024011_T140000Z""".replace("_", " ").replace("\n", "|").split("|")
ODD = ["20240115T140000Z\n", "202401\t5T140000Z", "202401\u00a05T140000Z", "20240115T140000Z\0", "20240115\u0166140000Z",
       "20240115\uff34140000Z", "20240115T140000\uff3a", "20240115T140000\u0130"]
SIGNS = "0123456789 tTzZ-:+\u0660\u0661\u0669\u06f3\uff11\U0001d7d8\U0001fbf0\u00b2\u2460\u4e00\u0bf0"

def seconds(name):
    try:
        return (datetime.datetime.strptime(name, "%Y%m%dT%H%M%SZ") - START) // SECOND
    except ValueError:
        return "-"

def valid(rng):
    at = START + rng.randrange(0, 315537897600) * SECOND
    fields = [str(n).zfill(rng.choice((1, 2, 2))) for n in (at.month, at.day, at.hour, at.minute, at.second)]
    return "%04d%s%sT%s%s%sZ" % (at.year, *fields)

def mutated(rng):
    name = valid(rng)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        at = rng.randrange(len(name))
        other = chr(rng.choice((0x660, 0x966, 0xff10)) + int(name[at])) if name[at].isdecimal() else "7"
        name = name[:at] + rng.choice(("", rng.choice(SIGNS) + name[at], rng.choice(SIGNS), other)) + name[at + 1:]
    return name

def unpadded(rng):  # where a reader has to go back
    return "2024%sT%sZ" % ("".join(rng.choices("01123", k=rng.randrange(2, 5))), "".join(rng.choices("0122356", k=rng.randrange(2, 7))))

rng = random.Random(5719)
zeros = [code for code in range(0x110000) if unicodedata.decimal(chr(code), None) == 0]
names = PLAIN + BLANKS + ODD + [valid(rng) for _ in range(150)] + [mutated(rng) for _ in range(900)] + [unpadded(rng) for _ in range(400)]
names += ["20240115T1%s0000Z" % chr(zero + step) for zero in zeros for step in (-1, 0, 9, 10)]
for name in dict.fromkeys(names):
    print("%s\t%s" % (json.dumps(name), seconds(name)))
