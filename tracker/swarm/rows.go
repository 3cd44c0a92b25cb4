package swarm

// rowSizes are the sizes of rows of members; rowClass tells which is for how
// many.
var rowSizes = [...]uint8{1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, maxRow}

const rowClasses = uint8(len(rowSizes))

var rowClass = func() (class [maxRow + 1]uint8) {
	c := uint8(0)
	for n := 1; n <= maxRow; n++ {
		if n > int(rowSizes[c]) {
			c++
		}
		class[n] = c
	}
	return class
}()

// newRow takes a row of a class for a swarm.
func (t *Table) newRow(class uint8, at uint32) uint32 {
	rows, backs := &t.rows[class], &t.backs[class]
	if rows.width == 0 {
		*rows, *backs = newSlab[member](int(rowSizes[class]), memberBytes), newSlab[uint32](1, 4)
	}
	*backs.at(backs.push()) = at
	return rows.push()
}

// freeRow gives a row back: the last of its class takes its place.
func (t *Table) freeRow(class uint8, row uint32) {
	rows, backs := &t.rows[class], &t.backs[class]
	if last := rows.rows - 1; row != last {
		copy(rows.row(row), rows.row(last))
		at := *backs.at(last)
		*backs.at(row) = at
		t.swarms.at(at).row = row
	}
	rows.pop()
	backs.pop()
}

// moveRow changes the class of a swarm's row, which has n members.
func (t *Table) moveRow(s *swarm, n int, from, to uint8) {
	if from == to {
		return
	}
	old := s.row
	s.row = t.newRow(to, *t.backs[from].at(old))
	copy(t.rows[to].row(s.row), t.rows[from].row(old)[:n])
	t.freeRow(from, old)
}
