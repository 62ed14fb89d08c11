WITH a AS (SELECT * FROM trades§) SELECT count(*) FROM a

WITH a AS MATERIALIZED (SELECT * FROM trades§) SELECT sum(x.qty), max(y.price) FROM a x, a y

WITH a AS NOT MATERIALIZED (SELECT * FROM trades§ t¶) SELECT count(*) FROM a

WITH trades AS (SELECT 42 AS answer) SELECT * FROM trades

WITH trades AS (SELECT * FROM trades§ WHERE id < 3) SELECT * FROM trades ORDER BY id

WITH TRADES AS (SELECT 1 AS id) SELECT * FROM trades

WITH a(x, y) AS (SELECT id, sym FROM trades§) SELECT x, y FROM a ORDER BY x

WITH a AS (FROM trades§), b AS (FROM a SELECT id), c AS (FROM b JOIN refs§ r¶ ON true SELECT count(*) AS n) FROM c

WITH a AS (SELECT 1 AS id) SELECT * FROM a JOIN trades§ USING (id)

WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t WHERE n < 5) SELECT * FROM t ORDER BY n

WITH RECURSIVE up AS (SELECT id, parent, name FROM tree§ WHERE name = 'leaf' UNION ALL SELECT p.id, p.parent, p.name FROM up JOIN tree§ p¶ ON up.parent = p.id) SELECT * FROM up ORDER BY id

WITH RECURSIVE paths(id, path) AS (SELECT id, [name] FROM tree§ WHERE parent IS NULL UNION ALL SELECT t.id, list_append(path, t.name) FROM tree§ t¶, paths WHERE t.parent = paths.id) SELECT * FROM paths ORDER BY id

WITH RECURSIVE tree AS (SELECT id, parent FROM tree§ WHERE parent IS NULL UNION SELECT id + 100, parent FROM tree WHERE id < 300) SELECT * FROM tree ORDER BY ALL

WITH RECURSIVE tbl(a, b) USING KEY (a) AS (SELECT id, 1 FROM tree§ WHERE id < 3 UNION SELECT a, b + 1 FROM tbl WHERE b < 3) SELECT * FROM tbl ORDER BY ALL

WITH RECURSIVE cc(id, comp) USING KEY (id) AS (SELECT id, id FROM tree§ UNION (SELECT t.id, c.comp FROM cc c JOIN tree§ t¶ ON t.parent = c.id JOIN recurring.cc r ON r.id = t.id WHERE c.comp < r.comp)) SELECT * FROM cc ORDER BY ALL

WITH a AS (WITH b AS (FROM trades§) SELECT count(*) AS n FROM b) SELECT * FROM a

SELECT (WITH a AS (SELECT max(price) AS m FROM trades§) SELECT m FROM a) AS top

SELECT * FROM (WITH refs AS (SELECT 'x' AS sym) SELECT * FROM refs) UNION ALL SELECT sym FROM refs§ ORDER BY 1

WITH a AS (VALUES (1, 'x'), (2, 'y')) SELECT * FROM a, trades§ ORDER BY ALL

WITH a AS (TABLE refs§) SELECT * FROM a ORDER BY ALL

WITH a AS (SELECT id FROM trades§ UNION ALL SELECT id FROM tree§) SELECT count(*), sum(id) FROM a

WITH a AS (SELECT sym, count(*) AS n FROM trades§ GROUP BY sym) SELECT t.id, a.n FROM trades§ t¶ JOIN a USING (sym) ORDER BY ALL

WITH "trades" AS (SELECT 1 AS x) SELECT * FROM "trades"

WITH a AS (SELECT 1 AS k), a2 AS (SELECT * FROM a) SELECT a2.k, (SELECT count(*) FROM trades§) AS n FROM a2

WITH RECURSIVE a AS (SELECT * FROM trades§), n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < (SELECT count(*) FROM a)) SELECT max(i) FROM n

WITH x AS (SELECT 1), y AS (SELECT 2) FROM trades§ SELECT count(*)
