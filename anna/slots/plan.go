package slots

import "slices"

// Plan is what a member goes by when it decides what it is to be to the slots.
type Plan struct {
	Table Table
	Self  string
	// Served reports whether a member says that it serves a slot, and Led whether another than this one says that it leads it.
	Served func(member string, slot uint16) bool
	Led    func(slot uint16) bool
	// CutOff says that the others may take this member for gone.
	CutOff bool
}

// Moves are the slots of which a member has to become something else.
type Moves struct {
	// Gained are to be loaded and then served, and Left can be given up, since others serve them.
	Gained, Left []uint16
	// Leading, Serving and Parting are what it is to be to those that it serves.
	Leading, Serving, Parting []uint16
}

// Tenure returns what the member is to be to a slot: Leading, Serving or Stranger. It leads none that another says it leads, nor any
// while the others may take it for gone.
func (p *Plan) Tenure(slot uint16) Tenure {
	switch at := slices.Index(p.Table[slot], p.Self); {
	case at < 0:
		return Stranger
	case at == 0 && !p.CutOff && !p.Led(slot):
		return Leading
	}
	return Serving
}

// Moves returns what is to be done, given what the member is to every slot.
func (p *Plan) Moves(tenures []Tenure) (m Moves) {
	for i, masters := range p.Table {
		slot := uint16(i)
		want, now := p.Tenure(slot), tenures[slot]
		switch {
		case now == Joining: // it is being taken over
		case now == Stranger && want != Stranger:
			m.Gained = append(m.Gained, slot)
		case want == Stranger && (now == Leading || now == Serving):
			m.Parting = append(m.Parting, slot)
		case want == Stranger && now == Parting:
			if len(masters) > 0 && !slices.ContainsFunc(masters, func(m string) bool { return !p.Served(m, slot) }) {
				m.Left = append(m.Left, slot)
			}
		case want == Leading && now != Leading:
			m.Leading = append(m.Leading, slot)
		case want == Serving && now != Serving:
			m.Serving = append(m.Serving, slot)
		}
	}
	return m
}
