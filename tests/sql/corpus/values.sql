SELECT id, tags[1], tags[-1], tags[1:2], tags[:1], tags[2:], tags[1:-1:1] FROM trades§ ORDER BY id

SELECT id, info.x, info['y'], info.* FROM trades§ ORDER BY id

SELECT id, trades.info.x FROM trades§ ORDER BY id

SELECT id, (info).x, struct_extract(info, 'y') FROM trades§ t¶ ORDER BY id

SELECT unnest(info) FROM trades§ ORDER BY ALL

SELECT id, unnest(tags) AS tag FROM trades§ ORDER BY ALL

SELECT unnest(trades) FROM trades§ ORDER BY id

SELECT unnest([{'a': id, 'b': [1]}], recursive := true) FROM trades§ ORDER BY ALL

SELECT id, list_transform(tags, lambda x: x || '!') AS l FROM trades§ ORDER BY id

SELECT id, list_transform(tags, lambda x: upper(x)) AS l FROM trades§ ORDER BY id

SELECT id, list_filter(tags, lambda x, i: i > 1) AS l, list_reduce([1, 2, id], lambda a, b: a + b) AS r FROM trades§ ORDER BY id

SELECT id, [upper(x) FOR x IN tags] AS l, [x FOR x IN tags IF x <> 'x'] AS m FROM trades§ ORDER BY id

SELECT id, [x || i::VARCHAR FOR x, i IN tags] AS l FROM trades§ ORDER BY id

SELECT id, {'a': id, 'b': {'c': sym}} AS s, struct_extract(info, 'x') AS c FROM trades§ ORDER BY id

SELECT MAP {'k': id, 'l': 2} AS m, m['k'] AS k, map_keys(m) FROM trades§ ORDER BY ALL

-- compare: shape
SELECT row(id, sym) AS r, (id, sym) AS t, struct_pack(a := id, b := sym) AS p FROM trades§ ORDER BY ALL

SELECT [id, 2] AS l, list_value(id), array_value(id, 2), [id]::BIGINT[1] AS a FROM trades§ ORDER BY ALL

SELECT list_contains(tags, 'x'), len(tags), tags && ['x'], tags @> ['x'] FROM trades§ ORDER BY id

SELECT id, sym.upper().concat('!') AS c, tags.list_sort().len() AS n FROM trades§ ORDER BY id

SELECT union_value(num := id) AS u FROM trades§ ORDER BY ALL

SELECT info::JSON->>'x' AS x, to_json(info)->'$.y' AS y, json_extract_string(to_json(trades), '$.sym') FROM trades§ ORDER BY id

SELECT $$it's$$ || sym AS d, $tag$ FROM refs AT VERSION 0 $tag$ AS e FROM trades§ ORDER BY id

SELECT E'a\nb\'' || sym, 'it''s', x'ab'::BLOB, '\x41'::BLOB FROM trades§ ORDER BY id

SELECT 'a'
  'b' AS joined FROM trades§ LIMIT 1

SELECT 1_000 + id, 0x1F, 1e3, .5, 5., 1E-2 FROM trades§ ORDER BY ALL

SELECT DATE '2020-01-01' + id::INT, TIMESTAMP '2020-01-01 10:00:00', TIME '10:00', INTERVAL (id) DAY FROM trades§ ORDER BY ALL

SELECT TIMESTAMPTZ '2020-01-01 00:00:00+00' AT TIME ZONE 'UTC', id FROM trades§ ORDER BY id

SELECT typeof(id), typeof(tags), typeof(info), typeof(trades) FROM trades§ LIMIT 1

SELECT id::DECIMAL(10, 2), id::HUGEINT, price::FLOAT, sym::BLOB, [id]::VARCHAR, id::STRUCT(a INT) IS NULL FROM trades§ WHERE false

SELECT true AND id > 1 OR NOT false, id = 1 IS TRUE, id > 1 IS NOT FALSE, (id > 1) IS UNKNOWN FROM trades§ ORDER BY id

SELECT x FROM (VALUES (1), (2)) v(x) JOIN trades§ t¶ ON t.id = v.x ORDER BY x

SELECT * FROM (VALUES (1, 'x')) AS v(id, name), refs§ ORDER BY ALL

SELECT * FROM range(2) r(i), trades§ t ORDER BY ALL

SELECT * FROM generate_series(TIMESTAMP '2024-01-01', TIMESTAMP '2024-01-02', INTERVAL 12 HOUR) g(t), refs§ ORDER BY ALL

SELECT * FROM unnest([1, 2]) AS u(n), refs§ ORDER BY ALL

SELECT generate_series(1, 2) AS g, * FROM refs§ ORDER BY ALL

SELECT list_sort(list(id)), histogram(side), approx_count_distinct(sym) FROM trades§

SELECT regexp_matches(sym, '^a'), regexp_extract(sym, '(.)', 1), sym ~ 'a.*', sym !~ 'b', sym ~~ 'a%', sym !~~ 'a%', sym ~~* 'A' FROM trades§ ORDER BY id

SELECT format('{} {}', id, sym), printf('%d', id), sym[1], sym[1:1] FROM trades§ ORDER BY id

SELECT current_date IS NOT NULL, now() > ts, today() > DATE '2000-01-01', current_timestamp IS NULL FROM trades§ ORDER BY id

SELECT id AS at, sym AS version, price AS snapshot, ts AS "timestamp" FROM trades§ ORDER BY 1

SELECT version.id FROM trades§ version¶ WHERE version.id > 1 ORDER BY 1

SELECT snapshot.id FROM trades§ AS snapshot¶ ORDER BY 1

SELECT "at".id FROM trades§ AS "at" ORDER BY 1

SELECT "trades"."id" FROM "trades"§ ORDER BY "id"

SELECT "größe".id FROM trades§ "größe"¶ ORDER BY 1

SELECT 日本.id AS 数 FROM trades§ 日本¶ ORDER BY 1

SELECT id AS "😀" FROM trades§ AS "a b;c -- d"¶ ORDER BY 1

SELECT greatest(id, 2), least(id, 2), coalesce(price, qty, 0), constant_or_null(1, price) FROM trades§ ORDER BY id

SELECT bool_and(id > 0), bit_xor(id), product(qty), round(stddev(price), 9), round(corr(price, qty), 9), first(sym ORDER BY id), last(sym ORDER BY id) FROM trades§

SELECT try(id / 0) FROM trades§ ORDER BY ALL

SELECT error('no') FROM trades§ WHERE false

SELECT alias(id), id FROM trades§ ORDER BY id

SELECT hash(id) = hash(id), md5(sym) FROM trades§ ORDER BY id

SELECT count(DISTINCT (sym, side)), count(DISTINCT sym) FROM trades§

-- compare: shape
SELECT list_zip(tags, [1]), flatten([[id]]), list_aggregate([id, 1], 'sum') FROM trades§ ORDER BY id
