package resp

import "strings"

// commandList returns all commands, by group.
func commandList() []command {
	return []command{
		{
			name: "auth", arity: -2, flags: stranger, group: "connection", run: authCommand,
			summary: "Says the password.",
		},
		{
			name: "client", arity: -2, group: "connection", run: clientCommand,
			summary: "Says or tells something about the connection.",
		},
		{
			name: "cloudburst.ack", arity: -1, group: "connection", run: ackCommand,
			summary: "Tells or sets when the connection's writes are answered: durable or memory.",
		},
		{
			name: "echo", arity: 2, group: "connection", run: echoCommand,
			summary: "Returns what it is given.",
		},
		{
			name: "hello", arity: -1, flags: stranger, group: "connection", run: helloCommand,
			summary: "Chooses the version of the protocol, and says the password.",
		},
		{
			name: "ping", arity: -1, group: "connection", run: pingCommand,
			summary: "Returns PONG.",
		},
		{
			name: "quit", arity: -1, flags: stranger, group: "connection", run: quitCommand,
			summary: "Closes the connection.",
		},
		{
			name: "select", arity: 2, group: "connection", run: selectCommand,
			summary: "Chooses the one database there is, 0.",
		},
		{
			name: "decr", arity: 2, flags: writes, first: 1, last: 1, step: 1, group: "string", run: decrCommand,
			summary: "Takes one from a counter.",
		},
		{
			name: "decrby", arity: 3, flags: writes, first: 1, last: 1, step: 1, group: "string", run: decrbyCommand,
			summary: "Takes a number from a counter.",
		},
		{
			name: "get", arity: 2, flags: reads, first: 1, last: 1, step: 1, group: "string", run: getCommand,
			summary: "Returns the value of a key.",
		},
		{
			name: "getdel", arity: 2, flags: writes, first: 1, last: 1, step: 1, group: "string", run: getdelCommand,
			summary: "Returns the value of a key and deletes it.",
		},
		{
			name: "incr", arity: 2, flags: writes, first: 1, last: 1, step: 1, group: "string", run: incrCommand,
			summary: "Adds one to a counter.",
		},
		{
			name: "incrby", arity: 3, flags: writes, first: 1, last: 1, step: 1, group: "string", run: incrbyCommand,
			summary: "Adds a number to a counter.",
		},
		{
			name: "mget", arity: -2, flags: reads, first: 1, last: -1, step: 1, group: "string", run: mgetCommand,
			summary: "Returns the values of keys.",
		},
		{
			name: "mset", arity: -3, flags: writes, first: 1, last: -1, step: 2, group: "string", run: msetCommand,
			summary: "Sets the values of keys.",
		},
		{
			name: "psetex", arity: 4, flags: writes, first: 1, last: 1, step: 1, group: "string", run: psetexCommand,
			summary: "Sets the value of a key that lives for some milliseconds.",
		},
		{
			name: "set", arity: -3, flags: writes, first: 1, last: 1, step: 1, group: "string", run: setCommand,
			summary: "Sets the value of a key.",
		},
		{
			name: "setex", arity: 4, flags: writes, first: 1, last: 1, step: 1, group: "string", run: setexCommand,
			summary: "Sets the value of a key that lives for some seconds.",
		},
		{
			name: "setnx", arity: 3, flags: writes, first: 1, last: 1, step: 1, group: "string", run: setnxCommand,
			summary: "Sets the value of a key that is not there.",
		},
		{
			name: "strlen", arity: 2, flags: reads, first: 1, last: 1, step: 1, group: "string", run: strlenCommand,
			summary: "Returns the length of a value.",
		},
		{
			name: "cloudburst.cad", arity: 3, flags: writes, first: 1, last: 1, step: 1, group: "string", run: cadCommand,
			summary: "Deletes a key if it holds a value.",
		},
		{
			name: "dbsize", arity: 1, flags: reads, group: "generic", run: dbsizeCommand,
			summary: "Returns the number of keys.",
		},
		{
			name: "del", arity: -2, flags: writes, first: 1, last: -1, step: 1, group: "generic", run: delCommand,
			summary: "Deletes keys.",
		},
		{
			name: "exists", arity: -2, flags: reads, first: 1, last: -1, step: 1, group: "generic", run: existsCommand,
			summary: "Counts those keys that are there.",
		},
		{
			name: "expire", arity: -3, flags: writes, first: 1, last: 1, step: 1, group: "generic", run: expireCommand,
			summary: "Lets a key live for some seconds.",
		},
		{
			name: "expireat", arity: -3, flags: writes, first: 1, last: 1, step: 1, group: "generic", run: expireatCommand,
			summary: "Lets a key live until a time in seconds.",
		},
		{
			name: "expiretime", arity: 2, flags: reads, first: 1, last: 1, step: 1, group: "generic", run: expiretimeCommand,
			summary: "Returns until when a key lives, in seconds.",
		},
		{
			name: "keys", arity: 2, flags: reads, group: "generic", run: keysCommand,
			summary: "Lists the keys that match a pattern.",
		},
		{
			name: "persist", arity: 2, flags: writes, first: 1, last: 1, step: 1, group: "generic", run: persistCommand,
			summary: "Lets a key live for ever.",
		},
		{
			name: "pexpire", arity: -3, flags: writes, first: 1, last: 1, step: 1, group: "generic", run: pexpireCommand,
			summary: "Lets a key live for some milliseconds.",
		},
		{
			name: "pexpireat", arity: -3, flags: writes, first: 1, last: 1, step: 1, group: "generic", run: pexpireatCommand,
			summary: "Lets a key live until a time in milliseconds.",
		},
		{
			name: "pexpiretime", arity: 2, flags: reads, first: 1, last: 1, step: 1, group: "generic", run: pexpiretimeCommand,
			summary: "Returns until when a key lives, in milliseconds.",
		},
		{
			name: "pttl", arity: 2, flags: reads, first: 1, last: 1, step: 1, group: "generic", run: pttlCommand,
			summary: "Returns how long a key still lives, in milliseconds.",
		},
		{
			name: "scan", arity: -2, flags: reads, group: "generic", run: scanCommand,
			summary: "Goes through the keys, page by page.",
		},
		{
			name: "ttl", arity: 2, flags: reads, first: 1, last: 1, step: 1, group: "generic", run: ttlCommand,
			summary: "Returns how long a key still lives, in seconds.",
		},
		{
			name: "type", arity: 2, flags: reads, first: 1, last: 1, step: 1, group: "generic", run: typeCommand,
			summary: "Returns what a key holds.",
		},
		{
			name: "unlink", arity: -2, flags: writes, first: 1, last: -1, step: 1, group: "generic", run: delCommand,
			summary: "Deletes keys.",
		},
		{
			name: "sadd", arity: -3, flags: writes, first: 1, last: 1, step: 1, member: 2, group: "set", run: saddCommand,
			summary: "Adds members to a set.",
		},
		{
			name: "scard", arity: 2, flags: reads, first: 1, last: 1, step: 1, group: "set", run: scardCommand,
			summary: "Returns the number of members of a set.",
		},
		{
			name: "sismember", arity: 3, flags: reads, first: 1, last: 1, step: 1, member: 2, group: "set", run: sismemberCommand,
			summary: "Tells whether a member is in a set.",
		},
		{
			name: "smembers", arity: 2, flags: reads, first: 1, last: 1, step: 1, group: "set", run: smembersCommand,
			summary: "Returns the members of a set.",
		},
		{
			name: "smismember", arity: -3, flags: reads, first: 1, last: 1, step: 1, member: 2, group: "set", run: smismemberCommand,
			summary: "Tells which members are in a set.",
		},
		{
			name: "srem", arity: -3, flags: writes, first: 1, last: 1, step: 1, member: 2, group: "set", run: sremCommand,
			summary: "Removes members from a set.",
		},
		{
			name: "zadd", arity: -4, flags: writes, first: 1, last: 1, step: 1, member: 3, group: "sorted-set", run: zaddCommand,
			summary: "Adds members to a sorted set, or changes their scores.",
		},
		{
			name: "zcard", arity: 2, flags: reads, first: 1, last: 1, step: 1, group: "sorted-set", run: zcardCommand,
			summary: "Returns the number of members of a sorted set.",
		},
		{
			name: "zcount", arity: 4, flags: reads, first: 1, last: 1, step: 1, group: "sorted-set", run: zcountCommand,
			summary: "Counts the members within scores.",
		},
		{
			name: "zincrby", arity: 4, flags: writes, first: 1, last: 1, step: 1, member: 3, group: "sorted-set", run: zincrbyCommand,
			summary: "Adds to the score of a member.",
		},
		{
			name: "zrange", arity: -4, flags: reads, first: 1, last: 1, step: 1, group: "sorted-set", run: zrangeCommand,
			summary: "Returns members by rank or by score.",
		},
		{
			name: "zrangebyscore", arity: -4, flags: reads, first: 1, last: 1, step: 1, group: "sorted-set", run: zrangebyscoreCommand,
			summary: "Returns members within scores.",
		},
		{
			name: "zrank", arity: 3, flags: reads, first: 1, last: 1, step: 1, member: 2, group: "sorted-set", run: zrankCommand,
			summary: "Returns the rank of a member.",
		},
		{
			name: "zrem", arity: -3, flags: writes, first: 1, last: 1, step: 1, member: 2, group: "sorted-set", run: zremCommand,
			summary: "Removes members from a sorted set.",
		},
		{
			name: "zrevrange", arity: -4, flags: reads, first: 1, last: 1, step: 1, group: "sorted-set", run: zrevrangeCommand,
			summary: "Returns members by rank from the highest score.",
		},
		{
			name: "zrevrangebyscore", arity: -4, flags: reads, first: 1, last: 1, step: 1, group: "sorted-set", run: zrevrangebyscoreCommand,
			summary: "Returns members within scores from the highest.",
		},
		{
			name: "zrevrank", arity: 3, flags: reads, first: 1, last: 1, step: 1, member: 2, group: "sorted-set", run: zrevrankCommand,
			summary: "Returns the rank of a member from the highest score.",
		},
		{
			name: "zscore", arity: 3, flags: reads, first: 1, last: 1, step: 1, member: 2, group: "sorted-set", run: zscoreCommand,
			summary: "Returns the score of a member.",
		},
		{
			name: "eval", arity: -3, flags: writes, group: "scripting", run: evalCommand,
			summary: "Runs one of the known scripts of locks.",
		},
		{
			name: "evalsha", arity: -3, flags: writes, group: "scripting", run: evalshaCommand,
			summary: "Runs one of the known scripts of locks by its hash.",
		},
		{
			name: "script", arity: -2, group: "scripting", run: scriptCommand,
			summary: "Tells whether a script is known.",
		},
		{
			name: "command", arity: -1, group: "server", run: commandCommand,
			summary: "Tells what commands there are.",
		},
		{
			name: "config", arity: -2, group: "server", run: configCommand,
			summary: "Returns settings that tools ask for.",
		},
		{
			name: "info", arity: -1, group: "server", run: infoCommand,
			summary: "Returns what the node holds and has done.",
		},
		{
			name: "time", arity: 1, group: "server", run: timeCommand,
			summary: "Returns the time of the node.",
		},
	}
}

// noScripts is why a script is not run.
const noScripts = "Lua is only recognised where it releases or extends a lock as client libraries do; CLOUDBURST.CAD key value deletes a key " +
	"that holds a value; functions run in executors, in Python: register one with a client of Cloudburst"

// refusals says of the commands of Redis that are not there why.
func refusals() map[string]string {
	all := make(map[string]string)
	for _, r := range []struct{ names, reason string }{
		{
			"multi exec discard watch unwatch",
			"its masters do not ask each other before they write, so there are no transactions; a pipeline does without one (redis-py: pipeline(transaction=False))",
		},
		{
			"eval_ro evalsha_ro fcall fcall_ro function",
			noScripts,
		},
		{
			"publish subscribe unsubscribe psubscribe punsubscribe spublish ssubscribe sunsubscribe pubsub",
			"nothing is pushed to Redis clients; functions message each other, and a client of Cloudburst can wait for a key",
		},
		{
			"flushall flushdb swapdb",
			"other parts of Cloudburst keep their state in the same store; go through the keys with SCAN and delete yours",
		},
		{
			"append setrange getset incrbyfloat msetnx setbit bitfield bitop",
			"it would change a part of a value that other masters may be writing at the same time; write the whole value with SET, or count with INCRBY",
		},
		{
			"getrange substr getbit bitcount bitpos lcs getex",
			"values are read whole, with GET",
		},
		{
			"lpush rpush lpop rpop lrange llen lindex lset lrem ltrim linsert lmove rpoplpush blpop brpop blmove " +
				"lpos lpushx rpushx lmpop blmpop brpoplpush",
			"a list is not a lattice: masters that push at the same time would not agree on its order; use a sorted set with times as scores",
		},
		{
			"hset hget hmset hmget hgetall hdel hexists hincrby hincrbyfloat hkeys hlen hscan hsetnx hstrlen " +
				"hvals hrandfield",
			"maps are only for clients of Cloudburst; use one key for each field, such as KEY:FIELD",
		},
		{
			"xadd xread xrange xrevrange xlen xdel xtrim xgroup xreadgroup xack xclaim xautoclaim xinfo xpending",
			"there are no streams; use a sorted set with times as scores",
		},
		{
			"sunion sinter sdiff sunionstore sinterstore sdiffstore sintercard smove spop srandmember sscan " +
				"zunion zinter zdiff zunionstore zinterstore zdiffstore zrangestore zpopmin zpopmax bzpopmin bzpopmax " +
				"zmpop bzmpop zrandmember zlexcount zrangebylex zrevrangebylex zremrangebyrank zremrangebyscore " +
				"zremrangebylex zscan zmscore",
			"sets are read with SMEMBERS, SISMEMBER, ZRANGE and ZSCORE; the rest is done in the client or in a function",
		},
		{
			"rename renamenx copy move dump restore migrate object touch sort sort_ro",
			"a key stays where it is and is what was written to it; GET and SET it",
		},
		{
			"randomkey",
			"SCAN lists the keys",
		},
		{
			"geoadd geodist geopos geosearch geohash pfadd pfcount pfmerge",
			"there is no such type",
		},
		{
			"save bgsave bgrewriteaof lastsave shutdown debug slowlog latency memory monitor module acl failover " +
				"replicaof slaveof psync sync role wait waitaof cluster readonly readwrite asking reset",
			"the node keeps its own log and members; see INFO here and `cloudburst status`",
		},
	} {
		for name := range strings.FieldsSeq(r.names) {
			all[name] = r.reason
		}
	}
	return all
}
