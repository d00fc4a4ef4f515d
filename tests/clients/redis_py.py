"""What a program with redis-py does: every type, pipelines, scans, large values, decoding, errors, subscriptions, many threads.

usage: redis_py.py PORT PROTOCOL
"""
import sys
import threading

import redis

PORT, PROTOCOL = int(sys.argv[1]), int(sys.argv[2])


def connect(**options):
    return redis.Redis(host="127.0.0.1", port=PORT, protocol=PROTOCOL, socket_timeout=30, **options)


def strings(r):
    assert r.set("s", "value") is True
    assert r.get("s") == b"value"
    assert r.set("s", "other", nx=True) is None
    assert r.set("s", "other", xx=True, get=True) == b"value"
    assert r.setrange("s", 2, "XX") == 5 and r.getrange("s", 0, -1) == b"otXXr"
    assert r.append("s", "!") == 6 and r.strlen("s") == 6
    assert r.incr("n") == 1 and r.incrby("n", 41) == 42 and r.decr("n") == 41
    assert r.incrbyfloat("f", 0.5) == 0.5
    assert r.mset({"a": 1, "b": 2, "{t}c": 3}) is True
    assert r.mget("a", "b", "{t}c", "none") == [b"1", b"2", b"3", None]
    assert r.msetnx({"a": 9, "new": 9}) is False
    assert r.getdel("a") == b"1" and r.get("a") is None
    assert r.setex("t", 100, "v") is True and 0 < r.ttl("t") <= 100
    assert r.getex("t", persist=True) == b"v" and r.ttl("t") == -1
    binary = bytes(range(256))
    assert r.set("bin", binary) and r.get("bin") == binary


def lists(r):
    assert r.rpush("l", *range(10)) == 10 and r.lpush("l", "first") == 11
    assert r.lrange("l", 0, 2) == [b"first", b"0", b"1"]
    assert r.lpop("l") == b"first" and r.rpop("l", 2) == [b"9", b"8"]
    assert r.lindex("l", -1) == b"7" and r.lset("l", 0, "zero") is True
    assert r.linsert("l", "BEFORE", "1", "half") == 9
    assert r.lpos("l", "half") == 1 and r.lrem("l", 0, "half") == 1
    assert r.lmove("l", "{other}l", "LEFT", "RIGHT") == b"zero"
    assert r.lmpop(2, "none", "{other}l", direction="LEFT") == [b"{other}l", [b"zero"]]
    assert r.ltrim("l", 0, 1) is True and r.llen("l") == 2


def sets(r):
    assert r.sadd("x", *range(10)) == 10 and r.sadd("y", *range(5, 15)) == 10
    as_set = lambda *numbers: {str(n).encode() for n in numbers}
    assert set(r.smembers("x")) == as_set(*range(10))
    assert r.sismember("x", 3) and not r.sismember("x", 30)
    assert [bool(found) for found in r.smismember("x", [1, 30])] == [True, False]
    assert set(r.sinter("x", "y")) == as_set(*range(5, 10))
    assert set(r.sunion("x", "y")) == as_set(*range(15))
    assert set(r.sdiff("x", "y")) == as_set(*range(5))
    assert r.sinterstore("{d}z", "x", "y") == 5 and r.sintercard(2, ["x", "y"], limit=3) == 3
    assert r.smove("x", "y", 0) and r.srem("x", 1, 2) == 2
    assert r.spop("x") is not None and len(r.srandmember("y", 4)) == 4
    assert set(r.sscan_iter("y", count=3)) == as_set(0, *range(5, 15))


def hashes(r):
    assert r.hset("h", mapping={"a": 1, "b": "two", "c": b"\x00"}) == 3
    assert r.hgetall("h") == {b"a": b"1", b"b": b"two", b"c": b"\x00"}
    assert r.hget("h", "b") == b"two" and r.hmget("h", "a", "none") == [b"1", None]
    assert r.hincrby("h", "a", 9) == 10 and r.hincrbyfloat("h", "a", 0.25) == 10.25
    assert set(r.hkeys("h")) == {b"a", b"b", b"c"} and len(r.hvals("h")) == 3
    assert r.hdel("h", "c") == 1 and r.hlen("h") == 2 and r.hexists("h", "a")
    assert dict(r.hscan_iter("h")) == {b"a": b"10.25", b"b": b"two"}
    assert r.hrandfield("h") in (b"a", b"b")
    assert r.hsetnx("h", "a", 1) in (0, False) and r.hstrlen("h", "b") == 3


def keys(r):
    r.flushall()
    with r.pipeline(transaction=False) as pipe:
        for number in range(2000):
            pipe.set(f"key:{number}", number)
        assert all(pipe.execute())
    assert r.dbsize() == 2000
    assert {int(key.split(b":")[1]) for key in r.scan_iter("key:*", count=100)} == set(range(2000))
    assert len(r.keys("key:1?")) == 10
    assert r.delete(*[f"key:{number}" for number in range(1000)]) == 1000
    assert r.exists("key:0", "key:1000", "key:1001") == 2
    assert r.rename("key:1000", "renamed") is True and r.get("renamed") == b"1000"
    assert r.copy("renamed", "copied") in (1, True) and r.type("copied") == b"string"
    assert r.expire("copied", 1000) in (1, True) and r.persist("copied") in (1, True)
    assert r.unlink("copied", "renamed") == 2 and r.touch("key:1001") == 1
    assert r.object("encoding", "key:1001") == b"int"
    other = connect(db=3)
    assert other.dbsize() == 0 and r.move("key:1001", 3) in (1, True) and other.get("key:1001") == b"1001"
    assert r.flushall() is True and other.dbsize() == 0


def pipelines(r):
    with r.pipeline(transaction=False) as pipe:
        for number in range(500):
            pipe.set(f"p{number}", number).get(f"p{number}").incr(f"p{number}")
        replies = pipe.execute()
    assert replies == [reply for number in range(500) for reply in (True, str(number).encode(), number + 1)]
    with r.pipeline(transaction=False) as pipe:
        pipe.set("wrong", "text").incr("wrong").lpush("wrong", 1).get("wrong")
        replies = pipe.execute(raise_on_error=False)
    assert isinstance(replies[1], redis.ResponseError) and "WRONGTYPE" in str(replies[2]) and replies[3] == b"text"


def large_values(r):
    value = bytes(range(256)) * (8 << 12)
    assert r.set("large", value) is True
    for _ in range(3):
        assert r.get("large") == value
    assert r.rpush("largelist", value, "x") == 2 and r.lindex("largelist", 0) == value
    assert r.delete("large", "largelist") == 2


def errors(r):
    r.set("s", "text")
    for call, text in [
        (lambda: r.lpush("s", 1), "WRONGTYPE"),
        (lambda: r.incr("s"), "value is not an integer or out of range"),
        (lambda: r.execute_command("NOSUCH", "a"), "unknown command 'NOSUCH', with args beginning with: 'a'"),
        (lambda: r.execute_command("GET"), "wrong number of arguments for 'get' command"),
        (lambda: r.rename("nosuchkey", "other"), "no such key"),
    ]:
        try:
            call()
        except redis.ResponseError as error:
            assert text in str(error), str(error)
        else:
            raise AssertionError(f"no error: {text}")
    assert r.ping() is True


def decoded():
    r = connect(decode_responses=True)
    r.set("text", "grüße, 世界")
    assert r.get("text") == "grüße, 世界"
    r.hset("texthash", mapping={"ключ": "значение"})
    assert r.hgetall("texthash") == {"ключ": "значение"}


def connections(r):
    assert r.client_setname("name") is True and isinstance(r.client_id(), int)
    assert any(client["id"] for client in r.client_list())
    assert r.info("server")["redis_version"] and "connected_clients" in r.info("clients")
    assert int(r.config_get("databases")["databases"]) == 16
    assert r.echo("hello") == b"hello" and r.time()[0] > 1_600_000_000
    assert r.command_count() > 50 and r.command_getkeys("MSET", "a", "1", "b", "2") in ([b"a", b"b"], ["a", "b"])
    assert "get" in r.command()


def publications(r):
    def messages(subscriber, count):
        found = [subscriber.get_message(timeout=20) for _ in range(count)]
        assert all(found), found
        return [(message["type"], message["pattern"], message["channel"], message["data"]) for message in found]

    subscribers = [r.pubsub() for _ in range(6)]
    for subscriber in subscribers:
        subscriber.subscribe("news", "art")
        subscriber.psubscribe("n*")
        kinds = [("subscribe", None, b"art", 2), ("subscribe", None, b"news", 1), ("psubscribe", None, b"n*", 3)]
        assert sorted(kind[::2] for kind in messages(subscriber, 3)) == sorted(kind[::2] for kind in kinds)
    assert r.publish("news", "hello") == 12 and r.publish("art", b"\0\xff") == 6 and r.publish("other", "x") == 0
    expected = [
        ("message", None, b"news", b"hello"), ("pmessage", b"n*", b"news", b"hello"), ("message", None, b"art", b"\0\xff"),
    ]
    for subscriber in subscribers:
        assert messages(subscriber, 3) == expected
    assert sorted(r.pubsub_channels()) == [b"art", b"news"] and r.pubsub_numpat() == 1
    assert r.pubsub_numsub("news", "x") == [(b"news", 6), (b"x", 0)]
    seen = []
    listener = r.pubsub()
    listener.subscribe(handled=lambda message: seen.append(message["data"]))
    thread = listener.run_in_thread(sleep_time=0.01)
    while r.pubsub_numsub("handled")[0][1] == 0:
        pass
    assert [r.publish("handled", number) for number in range(50)] == [1] * 50
    while len(seen) < 50:
        pass
    assert seen == [str(number).encode() for number in range(50)]
    thread.stop()
    thread.join()
    for subscriber in subscribers:
        subscriber.unsubscribe()
        subscriber.punsubscribe()
        assert len(messages(subscriber, 3)) == 3
        assert subscriber.subscribed is False
        subscriber.close()
    assert r.pubsub_channels() == []


def threads(r):
    failures = []

    def work(index):
        try:
            for number in range(200):
                assert r.set(f"t{index}:{number}", number) and r.get(f"t{index}:{number}") == str(number).encode()
                r.incr("together")
        except Exception as error:  # reported by the main thread
            failures.append(error)

    workers = [threading.Thread(target=work, args=(index,)) for index in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not failures, failures
    assert int(r.get("together")) == 1600


def main():
    r = connect()
    checks = [strings, lists, sets, hashes, keys, pipelines, large_values, errors, connections, publications, threads]
    for check in checks:
        r.flushall()
        check(r)
    decoded()
    print(f"redis-py {redis.__version__}, RESP{PROTOCOL}: {len(checks) + 1} groups of checks hold")


main()
