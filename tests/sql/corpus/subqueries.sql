SELECT id FROM trades§ t¶ WHERE price > (SELECT avg(price) FROM trades§ u¶ WHERE u.sym = t.sym) ORDER BY id

SELECT id, (SELECT name FROM refs§ r¶ WHERE r.sym = t.sym) AS name FROM trades§ t¶ ORDER BY id

SELECT id FROM trades§ WHERE EXISTS (SELECT 1 FROM refs§ WHERE refs.sym = trades.sym) ORDER BY id

SELECT id FROM trades§ t WHERE NOT EXISTS (FROM refs§ r¶ WHERE r.sym = t.sym) ORDER BY id

SELECT id FROM trades§ WHERE sym IN (SELECT sym FROM refs§) ORDER BY id

SELECT id FROM trades§ WHERE sym NOT IN (FROM refs§ SELECT sym) ORDER BY id

SELECT id FROM trades§ WHERE sym IN (FROM (SELECT sym FROM refs§)) ORDER BY id

SELECT id FROM trades§ WHERE (sym, id) IN (SELECT sym, id FROM trades§ WHERE id > 2) ORDER BY id

SELECT id FROM trades§ WHERE price > ALL (SELECT bid FROM quotes§ WHERE bid < 12) ORDER BY id

SELECT id FROM trades§ WHERE price < ANY (SELECT bid FROM quotes§) ORDER BY id

SELECT id FROM trades§ WHERE price = SOME (SELECT price FROM trades§ WHERE id = 2) ORDER BY id

SELECT id FROM trades§ WHERE 'x' = ANY (tags) ORDER BY id

SELECT (SELECT count(*) FROM trades§) + (SELECT count(*) FROM refs§) AS n

SELECT (FROM trades§ SELECT max(id)) AS top

SELECT ARRAY(SELECT id FROM trades§ ORDER BY id) AS ids

SELECT [x FOR x IN (SELECT list(id ORDER BY id) FROM trades§) IF x > 2] AS ids

SELECT * FROM (SELECT * FROM (SELECT id FROM trades§)) ORDER BY id

SELECT * FROM (FROM trades§) ORDER BY id

SELECT * FROM (FROM trades§ t¶ WHERE id < 3) AS x(a, b) ORDER BY a

SELECT (SELECT t FROM trades t WHERE id = 1)

SELECT (SELECT refs FROM refs§ WHERE sym = 'a').name AS name

SELECT id FROM trades§ t WHERE (SELECT count(*) FROM quotes§ q¶ WHERE q.sym = t.sym AND EXISTS (SELECT 1 FROM refs§ r¶ WHERE r.sym = q.sym)) > 1 ORDER BY id

SELECT sym, sum(qty) FROM trades§ GROUP BY sym HAVING sum(qty) > (SELECT avg(qty) FROM trades§) ORDER BY sym

SELECT CASE WHEN EXISTS (FROM trades§ WHERE id = 1) THEN 'yes' ELSE 'no' END AS there

SELECT id FROM trades§ ORDER BY (SELECT name FROM refs§ r¶ WHERE r.sym = trades.sym) NULLS LAST, id

SELECT id FROM trades§ LIMIT (SELECT 2)

SELECT id FROM trades§ WHERE id = (SELECT min(id) FROM trades§ t2 WHERE t2.sym = trades.sym) ORDER BY id

SELECT x.id FROM (SELECT * FROM trades§) x WHERE x.sym IN ('a', 'b') ORDER BY ALL

SELECT max(id) FILTER (WHERE sym IN (SELECT sym FROM refs)) FROM trades§

SELECT id IN (SELECT id FROM tree§) AS known, count(*) FROM trades§ GROUP BY known ORDER BY ALL
