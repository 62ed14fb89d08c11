/* before */ SELECT /* in */ id -- behind
FROM /* a */ trades§ /* b */ t¶ -- c
WHERE /* d */ id > 1 -- e

SELECT id FROM trades§--comment
WHERE id > 0

SELECT id FROM trades§/**/WHERE id > 0

-- a comment first
SELECT 1 AS one, count(*) FROM trades§; -- and last

SELECT count(*) FROM trades§;

SELECT count(*) FROM trades§ ; ;

;SELECT count(*) FROM trades§

SELECT 1; SELECT 2; SELECT count(*) AS n FROM trades§

SELECT count(*) FROM trades§; SELECT max(id) FROM trades§

select Count(*) fRoM trades§ As T wHeRe T.id > 1

SELECT
	id
FROM
	trades§
		t¶
ORDER	BY
	id

SELECT(id)FROM trades§ ORDER BY(id)

SELECT*FROM trades§ ORDER BY id

SELECT id FROM(FROM trades§)ORDER BY id

SELECT id FROM ((FROM trades§)) ORDER BY id

SELECT id FROM ((SELECT * FROM trades§ t¶)) ORDER BY id

SELECT t.id FROM (FROM trades§ t) AS u(a), trades§ t WHERE u.a = t.id ORDER BY 1

SELECT id, FROM trades§ ORDER BY id

SELECT id, sym, FROM trades§ GROUP BY id, sym ORDER BY ALL

SELECT '-- FROM refs AT VERSION 0' AS a, "id" FROM trades§ ORDER BY id

SELECT ';' AS a FROM trades§ WHERE sym <> ';' ORDER BY id

SELECT ('FROM trades') FROM trades§ LIMIT 1

SELECT 'AT VERSION 0' FROM trades§ LIMIT 1

SELECT id /* /* nested */ FROM refs */ FROM trades§ ORDER BY id

SELECT count(*) FROM main.trades§

SELECT main.trades.id FROM main.trades ORDER BY 1

SELECT id FROM trades§ AS t¶ ORDER BY t.id

SELECT id FROM trades§ t(id, s)¶ ORDER BY s, id

SELECT id FROM trades§ AS t (id, s)¶ ORDER BY s, id

SELECT main.trades.id, main.trades.info.x FROM trades§ WHERE trades.id > 1 AND main.trades.id < 4 ORDER BY main.trades.id

SELECT Main.Trades.id, name FROM trades§ JOIN refs§ ON main.trades.sym = main.refs.sym WHERE EXISTS (FROM tree§ WHERE main.tree.id = main.trades.id) ORDER BY ALL
