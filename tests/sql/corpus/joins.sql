SELECT t.id, q.bid FROM trades§ t¶ JOIN quotes§ q¶ ON t.sym = q.sym AND t.ts >= q.ts ORDER BY ALL

SELECT t.id, q.bid FROM trades§ t INNER JOIN quotes§ q¶ USING (sym) WHERE q.bid < 20 ORDER BY ALL

SELECT * FROM trades§ NATURAL JOIN refs§ ORDER BY id

SELECT * FROM trades§ NATURAL LEFT JOIN refs§ r¶ ORDER BY id

SELECT * FROM refs§ NATURAL FULL OUTER JOIN trades§ ORDER BY ALL

SELECT trades.id, refs.name FROM trades§ LEFT JOIN refs§ ON trades.sym = refs.sym ORDER BY ALL

SELECT trades.id, refs.name FROM trades§ RIGHT OUTER JOIN refs§ ON trades.sym = refs.sym ORDER BY ALL

SELECT trades.id, refs.name FROM trades§ FULL JOIN refs§ USING (sym) ORDER BY ALL

SELECT sym FROM trades§ FULL JOIN refs§ USING (sym) GROUP BY sym ORDER BY ALL

SELECT count(*) FROM trades§ CROSS JOIN refs§

SELECT count(*) FROM trades§, refs§

SELECT count(*) FROM trades§ a¶, trades§ b¶, refs§ c¶ WHERE a.id = b.id AND b.sym = c.sym

SELECT id FROM trades§ SEMI JOIN refs§ USING (sym) ORDER BY id

SELECT id FROM trades§ t¶ SEMI JOIN refs§ r¶ ON t.sym = r.sym AND r.sector = 'tech' ORDER BY id

SELECT id FROM trades§ ANTI JOIN refs§ USING (sym) ORDER BY id

FROM trades§ t ANTI JOIN quotes§ q¶ ON q.sym = t.sym AND q.bid > t.price SELECT id ORDER BY id

SELECT t.id, q.bid FROM trades§ t¶ ASOF JOIN quotes§ q¶ ON t.sym = q.sym AND t.ts >= q.ts ORDER BY ALL

SELECT t.id, q.bid FROM trades§ t ASOF LEFT JOIN quotes§ q USING (sym, ts) ORDER BY ALL

SELECT * FROM trades§ ASOF JOIN quotes§ USING (sym, ts) ORDER BY ALL

SELECT t.id, q.bid FROM trades§ t ASOF JOIN quotes§ q ON t.sym = q.sym AND t.ts < q.ts ORDER BY ALL

SELECT t.id, r.name FROM trades§ t¶ POSITIONAL JOIN refs§ r¶

SELECT * FROM trades§ POSITIONAL JOIN refs§ POSITIONAL JOIN tree§

SELECT id, big FROM trades§ t¶, LATERAL (SELECT max(bid) AS big FROM quotes§ q¶ WHERE q.sym = t.sym) ORDER BY id

SELECT id, big FROM trades§ t, (SELECT max(bid) AS big FROM quotes§ q WHERE q.sym = t.sym) x ORDER BY id

SELECT t.id, x.bid FROM trades§ t LEFT JOIN LATERAL (SELECT bid FROM quotes§ WHERE quotes.sym = t.sym ORDER BY ts LIMIT 1) x ON true ORDER BY ALL

SELECT t.id, x.i FROM trades§ t CROSS JOIN LATERAL (SELECT unnest(range(t.qty::BIGINT % 3)) AS i) x ORDER BY ALL

SELECT a.id, b.id FROM (trades§ a¶ JOIN trades§ b¶ ON a.id + 1 = b.id) ORDER BY ALL

SELECT * FROM (trades§ JOIN refs§ USING (sym)) x(a, b, c) ORDER BY ALL

SELECT * FROM ((trades§ JOIN refs§ USING (sym)) JOIN quotes§ USING (sym)) ORDER BY ALL

FROM trades§ t JOIN (refs§ r JOIN quotes§ q USING (sym)) ON t.sym = r.sym SELECT count(*)

SELECT count(*) FROM trades§ t JOIN quotes§ q ON t.price BETWEEN q.bid AND q.ask OR t.sym <> q.sym

SELECT l.id, r.id FROM trades§ l¶ JOIN trades§ r¶ USING (sym) WHERE l.id < r.id ORDER BY ALL

SELECT * EXCLUDE (ts) FROM trades§ t JOIN quotes§ q USING (sym) ORDER BY ALL

SELECT t.*, q.bid FROM trades§ t JOIN quotes§ q USING (sym) ORDER BY ALL

SELECT trades.* FROM trades§, refs§ WHERE trades.sym = refs.sym ORDER BY id

SELECT refs.*, trades.id FROM trades§ JOIN refs§ ON (trades.sym = refs.sym) ORDER BY id

SELECT (t.sym = r.sym) AS same, count(*) FROM trades§ t CROSS JOIN refs§ r GROUP BY ALL ORDER BY ALL

SELECT t1.id FROM trades§ AS t1¶ JOIN trades§ AS t2¶ ON t1.sym IS NOT DISTINCT FROM t2.sym WHERE t2.id = 1 ORDER BY ALL

SELECT x.a, y.b FROM trades§ x(a)¶ JOIN quotes§ AS y(t, b)¶ ON x.a = 1 ORDER BY ALL

SELECT * FROM trades§ t¶ LEFT OUTER JOIN quotes§ q¶ ON t.sym = q.sym AND q.bid > 15 LEFT JOIN refs§ r¶ ON r.sym = t.sym ORDER BY ALL

SELECT count(*) FROM trades§ t, unnest(t.tags) u(tag)

SELECT id, tag FROM trades§ t, unnest(t.tags) AS u(tag) ORDER BY ALL

SELECT id, g FROM trades§ t, generate_series(1, t.id) s(g) WHERE t.id < 4 ORDER BY ALL

SELECT count(*) FROM range(3) r JOIN trades§ t¶ ON r.range = t.id
