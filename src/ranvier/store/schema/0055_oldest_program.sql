-- The oldest schema that a program must know to work with this database: programs that know less than the newest one,
-- but at least this, run beside newer ones. A file that takes away or changes what the program before it needs raises
-- the value to its own number.
INSERT INTO meta (name, value) VALUES ('schema_oldest', '55');
